//! The ACL file: any text is refused with a place that is in it, or decides; what is remembered of a decision is what was
//! decided; and what an allowed filter stands for is allowed too.

use myriad::acl::{Acl, Action, Client, Decisions, Permission, Policy};
use myriad::topic::{TopicLimits, check_filter, check_name, matches};

/// Reads the ACL in all lines of `data` but the last two, which are a filter and a topic.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (rest, topic) = text.rsplit_once('\n').unwrap_or((text, "a/b"));
    let (file, filter) = rest.rsplit_once('\n').unwrap_or((rest, "a/#"));
    let rules = match Acl::parse(file) {
        Ok(rules) => rules,
        Err(error) => {
            let lines = file.lines().count() as u32 + 1;
            assert!((1..=lines).contains(&error.at.line) && error.at.column > 0, "{error}");
            return;
        }
    };
    let client = Client { client_id: "c", username: Some("u"), address: [127, 0, 0, 1].into() };
    for no_match in [Permission::Allow, Permission::Deny] {
        let policy = Policy { file: rules.clone(), no_match, asks_http: false };
        let decided = policy.allows(None, &client, Action::Publish, topic);
        let mut decisions = Decisions::new(&policy, 1, None, &client);
        assert_eq!(decisions.decide(&policy, &client, topic, 77), decided, "{topic:?}");
        assert_eq!(decisions.recall(77), Some(decided));
        if policy.allows_all(Action::Publish) {
            assert!(decided);
        }
    }
    let limits = TopicLimits::default();
    if check_name(topic, &limits).is_err() || check_filter(filter, &limits).is_err() {
        return;
    }
    // Allowed by one rule alone: then each topic of the filter is allowed by it. The other order does not hold: a denied
    // topic does not deny the filters around it.
    if matches(filter, topic)
        && rules.check(&client, Action::Subscribe, filter) == Some(Permission::Allow)
        && !file.contains("deny")
        && !file.contains("eq")
    {
        let covered = rules.check(&client, Action::Subscribe, topic);
        assert_eq!(covered, Some(Permission::Allow), "{filter:?} but not {topic:?}");
    }
}
