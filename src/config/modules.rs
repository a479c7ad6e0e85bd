//! What the file says of the modules: `[[subscription]]`, `[[rewrite]]` and `[delayed]`. What they do is in `broker::modules`.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

use crate::topic::{self, TopicLimits};

/// Bytes that a pattern and its tables may take: what people write needs a fraction of it.
const PATTERN_BYTES_MAX: usize = 1 << 18;
/// Rules of `[[rewrite]]` and entries of `[[subscription]]`: each is looked at for every PUBLISH or CONNECT.
pub(super) const ENTRIES_MAX: usize = 256;

/// `[[subscription]]`: what every client is subscribed to when it connects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AutoSubscription {
    /// Topic Filter, `%c` and `$c` replaced by the Client Identifier, `%u` and `$u` by the verified User Name.
    pub filter: String,
    /// QoS granted at most.
    pub qos: u8,
    /// The client's own messages are not delivered to it.
    pub no_local: bool,
    /// RETAIN is delivered as it was published.
    pub retain_as_published: bool,
    /// Retained messages are sent at the subscription (0), only if it is new (1), or not at all (2).
    pub retain_handling: u8,
}

impl AutoSubscription {
    /// Whether it can be subscribed with once its variables are replaced.
    ///
    /// # Errors
    /// The key at fault and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let problem = |problem: String| Err(("filter", format!("subscription.filter: {problem}")));
        let filter = topic::canonical(&self.filter);
        if let Err(error) = topic::check_filter(&filter, &TopicLimits::default()) {
            return problem(format!("{:?} {error}", self.filter));
        }
        match topic::parse_share(&filter) {
            Err(error) => problem(format!("{:?} {error}", self.filter)),
            Ok(Some(_)) if self.no_local => Err((
                "no_local",
                "subscription.no_local: a Shared Subscription can't have it [MQTT-3.8.3-4]; remove it".into(),
            )),
            Ok(_) => Ok(()),
        }
    }
}

/// `[[rewrite]]`: topics that mean other topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Topics that the rule is for, as a Topic Filter.
    pub topic: String,
    /// A regular expression that the topic has to match.
    pub pattern: String,
    /// What the topic becomes: `$1` to `$9` are the groups of the pattern, `%c` and `%u` the names of the client.
    pub to: String,
    /// In which packets: `publish`, `subscribe`, `unsubscribe`.
    pub on: Vec<String>,
    /// The pattern, once it was compiled.
    pub(crate) compiled: Compiled,
}

/// A pattern that is compiled once, by whoever reads the configuration, and goes with each copy of its rule: a large one takes
/// milliseconds, which no shard has. It follows from the rule's text, so it makes no difference between two rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compiled(OnceLock<Regex>);

impl PartialEq for Compiled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Compiled {}

impl Default for Rewrite {
    fn default() -> Self {
        let on = Self::PACKETS.iter().map(ToString::to_string).collect();
        Self {
            topic: String::new(),
            pattern: String::new(),
            to: String::new(),
            on,
            compiled: Compiled::default(),
        }
    }
}

impl Rewrite {
    /// What `on` may name.
    pub const PACKETS: [&'static str; 3] = ["publish", "subscribe", "unsubscribe"];

    /// The pattern, ready to match in linear time. It is compiled at the first call, which is `check`'s for what comes from a file.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn compile(&self) -> Result<&Regex, String> {
        let Compiled(cell) = &self.compiled;
        match cell.get() {
            Some(compiled) => Ok(compiled),
            None => self.build().map(|built| cell.get_or_init(|| built)),
        }
    }

    /// Whether `compile` costs nothing any more.
    pub fn is_compiled(&self) -> bool {
        self.compiled.0.get().is_some()
    }

    fn build(&self) -> Result<Regex, String> {
        let built = RegexBuilder::new(&self.pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build();
        built.map_err(|error| {
            // The last line says what; those before draw the place.
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// The key at fault and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if let Err(error) = topic::check_filter(&self.topic, &TopicLimits::default()) {
            return Err(("topic", format!("rewrite.topic: {:?} {error}", self.topic)));
        }
        let pattern = match self.compile() {
            Ok(pattern) => pattern,
            Err(problem) => {
                return Err(("pattern", format!("rewrite.pattern: {:?}: {problem}", self.pattern)));
            }
        };
        if self.to.is_empty() || self.to.contains(['\0', '+', '#']) {
            let problem = format!(
                "rewrite.to: expected a topic without '+', '#' and U+0000, as \"z/y/$1\", not {:?}",
                self.to
            );
            return Err(("to", problem));
        }
        let groups = pattern.captures_len() - 1;
        if let Some(group) = groups_named(&self.to).find(|group| *group > groups) {
            let problem = format!("rewrite.to: ${group} is not there: the pattern has {groups} groups");
            return Err(("to", problem));
        }
        match self.on.iter().find(|packet| !Self::PACKETS.contains(&packet.as_str())) {
            Some(packet) => {
                let nearest = Self::PACKETS.iter().min_by_key(|p| strsim::damerau_levenshtein(packet, p));
                let nearest = nearest.unwrap_or(&"");
                Err((
                    "on",
                    format!("rewrite.on: unknown packet {packet:?}; the nearest known one is {nearest:?}"),
                ))
            }
            None if self.on.is_empty() => {
                Err(("on", "rewrite.on: names no packet: the rule would never be used; remove it".into()))
            }
            None => Ok(()),
        }
    }
}

/// The groups that `to` names as `$1` to `$9`.
fn groups_named(to: &str) -> impl Iterator<Item = usize> + '_ {
    let digit = |pair: &[u8]| match pair {
        [b'$', digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    };
    to.as_bytes().windows(2).filter_map(digit)
}

/// `[delayed]`: messages that are published later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delayed {
    /// Messages that may wait at the same time, of the node; 0: the topics `$delayed/…` mean nothing.
    pub count_max: u32,
    /// Bytes of their topics, properties and payloads.
    pub bytes_max: u64,
    /// Longest delay, in seconds.
    pub delay_s_max: u32,
}

impl Delayed {
    /// The longest delay that anybody may configure: as emqttd has it.
    pub const DELAY_S_MAX: u32 = 4_294_967;
}

impl Default for Delayed {
    fn default() -> Self {
        Self { count_max: 100_000, bytes_max: 64 * 1024 * 1024, delay_s_max: Self::DELAY_S_MAX }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::config::Config;

    fn problem(text: &str) -> String {
        Config::from_toml(text, "m.toml").unwrap_err().to_string()
    }

    #[test]
    fn rules_are_read_and_printed_and_read_again() {
        let text = "[[subscription]]\nfilter = 'clients/%c/in'\nqos = 1\n[[subscription]]\nfilter = '$queue/jobs'\n\
                    [[rewrite]]\ntopic = 'x/#'\npattern = '^x/y/(.+)$'\nto = 'z/y/$1'\non = 'publish'\n";
        let config = Config::from_toml(text, "m.toml").unwrap();
        assert_eq!((config.subscriptions.len(), config.subscriptions[0].qos), (2, 1));
        assert_eq!((config.rewrites[0].to.as_str(), config.rewrites[0].on.len()), ("z/y/$1", 1));
        let printed = config.to_toml();
        assert_eq!(Config::from_toml(&printed, "printed").unwrap(), config, "{printed}");
    }

    /// Reading is the only time at which a pattern is compiled: each copy has it, also one that a reload makes.
    #[test]
    fn a_pattern_is_compiled_when_it_is_read() {
        let read = |pattern: &str| {
            let text = format!("[[rewrite]]\ntopic = 'x/#'\npattern = '{pattern}'\nto = 'z'\n");
            Config::from_toml(&text, "m.toml").unwrap()
        };
        let config = read("^x/y$");
        assert!(config.rewrites[0].is_compiled());
        let changed = config.diff_live(&read("^x/z$")).config;
        assert_eq!(changed.rewrites[0].pattern, "^x/z$");
        assert!(changed.rewrites[0].is_compiled());
        assert!(changed.rewrites[0].compile().unwrap().is_match("x/z"));
        assert_ne!(config.rewrites, changed.rewrites);
        assert_eq!(config.rewrites, read("^x/y$").rewrites);
    }

    #[test]
    fn a_rule_that_can_not_be_used_is_named_with_its_line() {
        let rewrite = |keys: &str| problem(&format!("[[rewrite]]\ntopic = 'x/#'\n{keys}"));
        assert_eq!(
            rewrite("pattern = '^x/('\nto = 'a'"),
            "m.toml:3: rewrite.pattern: \"^x/(\": unclosed group"
        );
        let large = rewrite("pattern = '\\w{1000}{1000}'\nto = 'a'");
        assert!(large.starts_with("m.toml:3: rewrite.pattern") && large.contains("size limit"), "{large}");
        assert!(rewrite("pattern = 'a'\nto = 'a/#'").starts_with("m.toml:4: rewrite.to: expected a topic"));
        assert!(rewrite("pattern = '(a)'\nto = 'a/$2'").starts_with("m.toml:4: rewrite.to: $2 is not there"));
        assert!(rewrite("pattern = 'a'\nto = 'b'\non = ['publsh']").contains("one is \"publish\""));
        assert!(rewrite("pattern = 'a'\nto = 'b'\non = []").contains("names no packet"));
        assert!(rewrite("to = 'b'").starts_with("m.toml:1: this [[rewrite]] lacks its pattern"));
        assert!(problem("[[rewrite]]\ntopik = 'x'").contains("nearest known one is `rewrite.topic`"));
        assert!(problem("[rewrite]\ntopic = 'x'").contains("in double brackets"));
        assert!(problem("[[subscription]]\nqos = 1").contains("lacks its filter"));
        assert!(problem("[[subscription]]\nfilter = 'a/#/b'").starts_with("m.toml:2: subscription.filter"));
        assert!(
            problem("[[subscription]]\nfilter = '$share/g'").starts_with("m.toml:2: subscription.filter")
        );
        let shared = problem("[[subscription]]\nfilter = '$queue/a'\nno_local = true");
        assert!(shared.starts_with("m.toml:3: subscription.no_local"), "{shared}");
    }

    #[test]
    fn lists_are_replaced_by_a_reload() {
        let running = Config::default();
        let new = Config::from_toml("[[subscription]]\nfilter = 'a'", "m.toml").unwrap();
        let reload = running.diff_live(&new);
        assert_eq!((reload.changed, reload.needs_restart.len()), (vec!["subscription".to_owned()], 0));
        assert_eq!(reload.config.subscriptions, new.subscriptions);
    }
}
