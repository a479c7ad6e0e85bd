//! What was decided for one connection: which rules speak of its client at all, and the answers for the topics that it
//! published to last. A connection has this only where some rule could deny it something, from its first PUBLISH on.

use super::{Acl, Action, Client, Permission, Policy};

/// Topics whose answer is remembered. Direct-mapped: a publisher with more topics asks the rules more often.
const RECENT: usize = 8;

/// The memory of one connection.
#[derive(Debug)]
pub struct Decisions {
    /// Which policy of its node was asked.
    generation: u32,
    /// The rules of its credentials.
    own: Option<Acl>,
    /// The rules of the file that speak of the client, by their place.
    applicable: Box<[u32]>,
    /// Hash of a topic, its lowest bit replaced by the answer. A hash is keyed per process and has 63 bits: that a
    /// denied topic meets an allowed one can't be brought about.
    recent: [Option<std::num::NonZeroU64>; RECENT],
}

impl Decisions {
    /// Nothing is decided yet.
    pub fn new(policy: &Policy, generation: u32, own: Option<Acl>, client: &Client<'_>) -> Self {
        let rules = policy.file.rules(Action::Publish).iter().zip(0..);
        let applicable = rules.filter(|(rule, _)| rule.who.is(client)).map(|(_, at)| at).collect();
        Self { generation, own, applicable, recent: [None; RECENT] }
    }

    /// Whether it was made for an older policy.
    pub fn is_older_than(&self, generation: u32) -> bool {
        self.generation != generation
    }

    /// The answer for a topic with this hash, if it is remembered.
    #[inline]
    pub fn recall(&self, hash: u64) -> Option<bool> {
        let known = self.recent.get(place(hash))?.as_ref()?.get();
        (known | 1 == hash | 1).then_some(known & 1 == 1)
    }

    /// As [`Policy::allows`] for publishing, remembered under the hash of the topic.
    pub fn decide(&mut self, policy: &Policy, client: &Client<'_>, topic: &str, hash: u64) -> bool {
        let rules = policy.file.rules(Action::Publish);
        let of_file = || {
            let rules = self.applicable.iter().filter_map(|at| rules.get(*at as usize));
            rules.into_iter().find(|rule| rule.has(client, topic)).map(|rule| rule.permission)
        };
        let permission = self
            .own
            .as_ref()
            .and_then(|own| own.check(client, Action::Publish, topic))
            .or_else(of_file)
            .unwrap_or(policy.no_match);
        let is_allowed = permission == Permission::Allow;
        if let Some(recent) = self.recent.get_mut(place(hash)) {
            *recent = std::num::NonZeroU64::new((hash & !1) | u64::from(is_allowed));
        }
        is_allowed
    }
}

const fn place(hash: u64) -> usize {
    (hash >> 1) as usize % RECENT
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_remembered_until_another_topic_takes_its_place() {
        let text =
            r##"{allow, {user, "u"}, publish, ["a/#"]}. {deny, {user, "x"}, publish, ["#"]}. {deny, all}."##;
        let file = Acl::parse(text).unwrap();
        let policy = Policy { file, no_match: Permission::Allow, asks_http: false };
        let client = Client { client_id: "c", username: Some("u"), address: [127, 0, 0, 1].into() };
        let mut decisions = Decisions::new(&policy, 1, None, &client);
        assert_eq!(&*decisions.applicable, [0, 2]);
        assert_eq!((decisions.recall(16), decisions.recall(17)), (None, None));
        assert!(decisions.decide(&policy, &client, "a/b", 17));
        assert_eq!((decisions.recall(17), decisions.recall(18)), (Some(true), None));
        assert!(!decisions.decide(&policy, &client, "b", 32));
        assert_eq!((decisions.recall(32), decisions.recall(17)), (Some(false), None));
        assert!(decisions.is_older_than(2) && !decisions.is_older_than(1));
    }

    #[test]
    fn the_rules_of_the_credentials_come_first() {
        let own = Acl::of_client([(Permission::Allow, super::super::Access::Publish, "mine/%c")]);
        let policy = Policy { file: Acl::default(), no_match: Permission::Deny, asks_http: false };
        let client = Client { client_id: "c", username: None, address: [127, 0, 0, 1].into() };
        let mut decisions = Decisions::new(&policy, 1, Some(own.clone()), &client);
        assert!(decisions.decide(&policy, &client, "mine/c", 2));
        assert!(!decisions.decide(&policy, &client, "mine/d", 4));
        assert!(policy.allows(Some(&own), &client, Action::Publish, "mine/c"));
        assert!(!policy.allows(Some(&own), &client, Action::Subscribe, "mine/c"));
    }
}
