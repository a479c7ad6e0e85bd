//! Who may publish and subscribe to what: emqttd's `acl.conf` in its own syntax. Rules are asked from top to bottom, and
//! the first that speaks of the client, the action and the topic decides.

mod decisions;
mod error;
mod parse;
mod rule;
mod term;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

pub use decisions::Decisions;
pub use error::{AclError, Position};
pub use rule::{Access, Permission};
use rule::{Rule, Topic, Who};

/// 127.0.0.0/8, all of it this machine.
const IPV4_LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// PUBLISH, Wills included.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Client<'c> {
    /// Client Identifier.
    pub client_id: &'c str,
    /// User Name, if one was given.
    pub username: Option<&'c str>,
    /// Where it connects from.
    pub address: IpAddr,
}

/// The rules, parted by action so that each is asked only those that can speak of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acl {
    publish: Vec<Rule>,
    subscribe: Vec<Rule>,
}

impl Acl {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Line, column, what was found and what was expected.
    pub fn parse(text: &str) -> Result<Self, AclError> {
        Ok(Self::of(&parse::rules(&term::read(text)?)?))
    }

    /// Rules that came with a client's credentials: they speak of that client only. Topics are as in a file.
    pub fn of_client<'r>(rules: impl IntoIterator<Item = (Permission, Access, &'r str)>) -> Self {
        let rules: Vec<Rule> = rules
            .into_iter()
            .map(|(permission, access, topic)| Rule::of_client(permission, access, topic))
            .collect();
        Self::of(&rules)
    }

    /// What holds where there is no file: what the broker tells of itself below `prefix` is for the user `dashboard` and for
    /// this machine (emqttd's default rules; they deny `#` to others too, which here matches nothing that begins with `$`).
    pub fn hiding(prefix: &str) -> Self {
        let rule = |permission, who| {
            // Of what is denied nothing may come by a wider filter either, unless that is everyone's `#`; who may have it may
            // have all.
            let denies = permission == Permission::Deny;
            let is_own = denies && prefix.starts_with('$');
            let topics = denies.then(|| vec![Topic::new(&format!("{prefix}/#"), false)]);
            Rule { permission, who, access: Access::Subscribe, topics, is_own }
        };
        let near = [IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)), IPV4_LOOPBACK.into()];
        let near = near.into_iter().map(Who::Address).collect();
        Self::of(&[
            rule(Permission::Allow, Who::User("dashboard".into())),
            rule(Permission::Allow, Who::Or(near)),
            rule(Permission::Deny, Who::All),
        ])
    }

    fn of(rules: &[Rule]) -> Self {
        let part = |action| rules.iter().filter(|rule| rule.access.has(action)).cloned().collect();
        Self { publish: part(Action::Publish), subscribe: part(Action::Subscribe) }
    }

    /// Rules that speak of publishing or subscribing.
    pub fn len(&self) -> usize {
        self.publish.len() + self.subscribe.len()
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the first rule says that speaks of this; `None`: no rule does.
    ///
    /// `topic` is the Topic Name of a PUBLISH or the Topic Filter of a SUBSCRIBE (of a Shared Subscription the filter
    /// behind the Share Name).
    #[must_use]
    pub fn check(&self, client: &Client<'_>, action: Action, topic: &str) -> Option<Permission> {
        self.find(client, action, topic).map(|(_, permission)| permission)
    }

    /// The same with the number of the rule, from 1, among those that speak of the action.
    #[must_use]
    pub fn find(&self, client: &Client<'_>, action: Action, topic: &str) -> Option<(usize, Permission)> {
        let rules = self.rules(action);
        let place = rules.iter().position(|rule| rule.matches(client, topic))?;
        rules.get(place).map(|rule| (place + 1, rule.permission))
    }

    fn rules(&self, action: Action) -> &[Rule] {
        match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
        }
    }
}

/// What is in effect on a node: the file, and what holds where it is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The rules of `acl.file`; without one those that hide `$SYS`, or none.
    pub file: Acl,
    /// `acl.no_match`
    pub no_match: Permission,
    /// Where the rules are silent a server is asked.
    pub asks_http: bool,
}

impl Default for Policy {
    /// Everyone may do everything.
    fn default() -> Self {
        Self { file: Acl::default(), no_match: Permission::Allow, asks_http: false }
    }
}

impl Policy {
    /// Whether it never denies anything of this kind, so that nobody need be asked.
    pub fn allows_all(&self, action: Action) -> bool {
        self.file.rules(action).is_empty() && self.no_match == Permission::Allow && !self.asks_http
    }

    /// Whether `client` may. Its `own` rules, which came with its credentials, are asked before the file's.
    #[must_use]
    pub fn allows(&self, own: Option<&Acl>, client: &Client<'_>, action: Action, topic: &str) -> bool {
        self.rules_say(own, client, action, topic).unwrap_or(self.no_match) == Permission::Allow
    }

    /// As [`Policy::allows`]; `None`: no rule speaks of it.
    #[must_use]
    pub fn rules_say(
        &self,
        own: Option<&Acl>,
        client: &Client<'_>,
        action: Action,
        topic: &str,
    ) -> Option<Permission> {
        own.and_then(|own| own.check(client, action, topic))
            .or_else(|| self.file.check(client, action, topic))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use Action::{Publish, Subscribe};
    use Permission::{Allow, Deny};

    const DEFAULT: &str = r##"
        %% What emqttd ships.
        {allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.
        {allow, {ipaddr, "127.0.0.1"}, pubsub, ["$SYS/#", "#"]}.
        {deny, all, subscribe, ["$SYS/#", {eq, "#"}]}.
        {allow, all}.
    "##;

    fn client(address: &str) -> Client<'static> {
        Client { client_id: "c1", username: Some("u1"), address: address.parse().unwrap() }
    }

    fn check(text: &str, client: &Client<'_>, action: Action, topic: &str) -> Option<Permission> {
        Acl::parse(text).unwrap().check(client, action, topic)
    }

    fn error(text: &str) -> String {
        Acl::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_default_file_hides_sys_from_strangers() {
        let (near, far) = (client("127.0.0.1"), client("10.1.2.3"));
        assert_eq!(check(DEFAULT, &near, Subscribe, "#"), Some(Allow));
        assert_eq!(check(DEFAULT, &near, Subscribe, "$SYS/brokers/#"), Some(Allow));
        assert_eq!(check(DEFAULT, &far, Subscribe, "$SYS/brokers"), Some(Deny));
        assert_eq!(check(DEFAULT, &far, Subscribe, "#"), Some(Deny));
        assert_eq!(check(DEFAULT, &far, Subscribe, "a/#"), Some(Allow));
        assert_eq!(check(DEFAULT, &far, Publish, "a"), Some(Allow));
        let dashboard = Client { username: Some("dashboard"), ..far };
        assert_eq!(check(DEFAULT, &dashboard, Subscribe, "$SYS/brokers/#"), Some(Allow));
        assert_eq!(check(DEFAULT, &client("::ffff:127.0.0.1"), Subscribe, "#"), Some(Allow));
    }

    #[test]
    fn without_a_file_sys_is_for_this_machine_and_the_dashboard() {
        let acl = Acl::hiding("$SYS/brokers");
        let far = client("10.1.2.3");
        let dashboard = Client { username: Some("dashboard"), ..far };
        for (who, filter, says) in [
            (far, "$SYS/brokers/#", Some(Deny)),
            (far, "$SYS/brokers/+/version", Some(Deny)),
            (far, "$SYS/#", Some(Deny)),
            (far, "$SYS/+/n/version", Some(Deny)),
            (far, "$SYS/other", None),
            (far, "#", None),
            (dashboard, "$SYS/brokers/#", Some(Allow)),
            (client("127.0.0.1"), "$SYS/brokers/#", Some(Allow)),
            (client("127.0.0.1"), "$SYS/#", Some(Allow)),
            (client("127.9.9.9"), "$SYS/brokers/#", Some(Allow)),
            (client("::1"), "$SYS/brokers/#", Some(Allow)),
            (client("::ffff:127.0.0.1"), "$SYS/brokers/#", Some(Allow)),
        ] {
            assert_eq!(acl.check(&who, Subscribe, filter), says, "{who:?} {filter}");
        }
        let policy = Policy { file: acl, ..Policy::default() };
        assert!(policy.allows_all(Publish) && !policy.allows_all(Subscribe));
    }

    #[test]
    fn the_first_rule_that_speaks_of_it_decides() {
        let text = r#"{deny, {client, "c1"}, publish, "a/b"}. {allow, all, pubsub, ["a/+"]}."#;
        assert_eq!(check(text, &client("1.2.3.4"), Publish, "a/b"), Some(Deny));
        assert_eq!(check(text, &client("1.2.3.4"), Subscribe, "a/b"), Some(Allow));
        assert_eq!(check(text, &client("1.2.3.4"), Publish, "x"), None);
    }

    #[test]
    fn who_may_be_combined() {
        let text = r#"{allow, {'and', [{ipaddr, "10.0.0.0/8"}, {'or', [{user, "u1"}, {user, "u2"}]}]}, publish, ["t"]}.
            {allow, {user, all}, subscribe, ["t"]}."#;
        let inside = client("10.9.9.9");
        assert_eq!(check(text, &inside, Publish, "t"), Some(Allow));
        assert_eq!(check(text, &client("11.0.0.1"), Publish, "t"), None);
        assert_eq!(check(text, &Client { username: Some("u3"), ..inside }, Publish, "t"), None);
        assert_eq!(check(text, &Client { username: None, ..inside }, Subscribe, "t"), None);
        assert_eq!(check(text, &inside, Subscribe, "t"), Some(Allow));
    }

    #[test]
    fn variables_are_whole_levels_and_never_wildcards() {
        let text = r#"{allow, all, pubsub, ["u/%u/#", "c/$c", "x%u"]}."#;
        let mut me = client("1.1.1.1");
        assert_eq!(check(text, &me, Publish, "u/u1/deep/er"), Some(Allow));
        assert_eq!(check(text, &me, Publish, "u/u2/deep"), None);
        assert_eq!(check(text, &me, Publish, "c/c1"), Some(Allow));
        assert_eq!(check(text, &me, Publish, "xu1"), None);
        assert_eq!(check(text, &me, Publish, "x%u"), Some(Allow));
        me.username = Some("+");
        assert_eq!(check(text, &me, Publish, "u/other/t"), None);
        assert_eq!(check(text, &me, Subscribe, "u/+/#"), None);
        me.username = None;
        assert_eq!(check(text, &me, Publish, "u/u1"), None);
    }

    #[test]
    fn a_filter_is_allowed_as_a_whole_or_not() {
        let allow = r#"{allow, all, subscribe, ["a/+", "b/#"]}."#;
        let me = client("1.1.1.1");
        assert_eq!(check(allow, &me, Subscribe, "a/+"), Some(Allow));
        assert_eq!(check(allow, &me, Subscribe, "a/#"), None);
        assert_eq!(check(allow, &me, Subscribe, "+/x"), None);
        assert_eq!(check(allow, &me, Subscribe, "b/+/#"), Some(Allow));
        assert_eq!(check(allow, &me, Subscribe, "b"), Some(Allow));
        let deny = r#"{deny, all, subscribe, ["a/+"]}."#;
        assert_eq!(check(deny, &me, Subscribe, "a/#"), Some(Deny));
        assert_eq!(check(r##"{allow, all, subscribe, ["#", "+/x"]}."##, &me, Subscribe, "$SYS/x"), None);
    }

    #[test]
    fn what_the_credentials_deny_comes_by_no_filter() {
        let me = client("1.1.1.1");
        let says = |denied: &str, filter: &str| {
            let rules = [(Deny, Access::PubSub, denied), (Allow, Access::PubSub, "#")];
            Acl::of_client(rules).check(&me, Subscribe, filter)
        };
        for (denied, filter) in [
            ("secret/#", "#"),
            ("secret/#", "+/x"),
            ("secret/#", "+"),
            ("secret/#", "secret"),
            ("secret", "secret/#"),
            ("a/+/c", "a/b/#"),
            ("a/+/c", "+/b/+"),
            ("u/%u", "u/+"),
            ("u/%c/x", "u/c1/#"),
        ] {
            assert_eq!(says(denied, filter), Some(Deny), "{denied} {filter}");
        }
        for (denied, filter) in [
            ("secret/#", "public/#"),
            ("a/+/c", "a/b"),
            ("a/b", "+"),
            ("a", "a/+"),
            ("u/%u", "u/u2"),
            ("$SYS/#", "#"),
            ("$SYS/#", "+/x"),
        ] {
            assert_eq!(says(denied, filter), Some(Allow), "{denied} {filter}");
        }
        assert_eq!(says("#", "$SYS/#"), None);
        // The first that fits decides, as ever.
        let rules = [(Allow, Access::PubSub, "a/b"), (Deny, Access::PubSub, "#")];
        let own = Acl::of_client(rules);
        assert_eq!(own.check(&me, Subscribe, "a/b"), Some(Allow));
        assert_eq!(own.check(&me, Subscribe, "a/#"), Some(Deny));
        assert_eq!(own.check(&me, Publish, "a/c"), Some(Deny));
    }

    #[test]
    fn errors_name_line_and_column() {
        assert_eq!(error("{allow, all}.\n{allow, al}.").split(',').next(), Some("2:1: found a tuple of 2"));
        assert!(error("{allow, all}").starts_with("1:13: the file ends, expected a full stop"));
        assert!(
            error("\n\n  {allow, {ipaddr, \"10.0.0\"}, pubsub, [\"#\"]}.")
                .starts_with("3:20: found the text \"10.0.0\"")
        );
        assert!(error("{allow, all, pubsub, [\"#\"}.").starts_with("1:26: found `}`, expected `,` or `]`"));
        assert!(error("{allow, all, pubsub, [\"#]}.").starts_with("1:23: no closing \" on this line"));
        assert!(
            error("{permit, all, pubsub, []}.")
                .starts_with("1:2: found the atom `permit`, expected allow or deny")
        );
        assert!(error(&format!("{}.", "[".repeat(100))).contains("nested more than 32 deep"));
    }

    #[test]
    fn binaries_comments_and_escapes_are_read() {
        let text = "% first\n{allow, {user, <<\"u1\"/utf8>>}, publish, [<<\"a/b\">>, \"q\\\"q\"]}. % last";
        assert_eq!(check(text, &client("1.1.1.1"), Publish, "a/b"), Some(Allow));
        assert_eq!(check(text, &client("1.1.1.1"), Publish, "q\"q"), Some(Allow));
        assert_eq!(check("", &client("1.1.1.1"), Publish, "a"), None);
    }
}
