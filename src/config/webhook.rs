//! `[[webhook]]`: where events are posted to. What is posted is in `webhook`.

use std::path::PathBuf;

use crate::topic::{self, TopicLimits};

/// `[[webhook]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `http://` or `https://`.
    pub url: String,
    /// Which events.
    pub events: Vec<String>,
    /// Of `message.publish` only messages to topics that one of these filters matches.
    pub topics: Vec<String>,
    /// File whose first line is the value of the header `Authorization`.
    pub authorization_file: PathBuf,
    /// Events of one request at most.
    pub batch_max: u32,
    /// How long the first event of a request waits for others, in milliseconds.
    pub linger_ms: u32,
    /// Events that may wait; one beyond is dropped.
    pub queue_len_max: u32,
    /// How long a request may take, in milliseconds.
    pub timeout_ms: u32,
    /// How often a request is repeated.
    pub retries: u32,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            url: String::new(),
            events: Vec::new(),
            topics: vec!["#".into()],
            authorization_file: PathBuf::new(),
            batch_max: 100,
            linger_ms: 200,
            queue_len_max: 10_000,
            timeout_ms: 5_000,
            retries: 3,
        }
    }
}

impl Webhook {
    /// What `events` may name, as emqttd's hooks were.
    pub const EVENTS: [&'static str; 5] = [
        "client.connected",
        "client.disconnected",
        "client.subscribe",
        "client.unsubscribe",
        "message.publish",
    ];

    /// Whether it can be used.
    ///
    /// # Errors
    /// The key at fault and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let is_http = ["http://", "https://"].iter().any(|scheme| {
            self.url
                .strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
        });
        if !is_http {
            return Err(("url", "webhook.url: expected http:// or https:// and a host".into()));
        }
        if self.events.is_empty() {
            return Err((
                "events",
                format!("webhook.events: names none; known are {}", Self::EVENTS.join(", ")),
            ));
        }
        if let Some(event) = self.events.iter().find(|event| !Self::EVENTS.contains(&event.as_str())) {
            let nearest = Self::EVENTS.iter().min_by_key(|e| strsim::damerau_levenshtein(event, e));
            let nearest = nearest.unwrap_or(&"");
            return Err((
                "events",
                format!("webhook.events: unknown {event:?}; the nearest known one is {nearest:?}"),
            ));
        }
        let wrong = self.topics.iter().find_map(|filter| {
            topic::check_filter(filter, &TopicLimits::default())
                .err()
                .map(|error| format!("{filter:?} {error}"))
        });
        wrong.map_or(Ok(()), |problem| Err(("topics", format!("webhook.topics: {problem}"))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_webhook_that_can_not_be_used_is_named_and_its_secrets_are_not_printed() {
        let problem = |keys: &str| {
            Config::from_toml(&format!("[[webhook]]\n{keys}"), "m.toml").unwrap_err().to_string()
        };
        assert!(
            problem("url = 'ftp://h'\nevents = ['client.connected']").starts_with("m.toml:2: webhook.url")
        );
        assert!(
            problem("url = 'http://h'\nevents = ['client.conected']").contains("one is \"client.connected\"")
        );
        assert!(problem("url = 'http://h'\nevents = []").contains("names none"));
        assert!(problem("url = 'http://h'").contains("lacks its events"));
        let topics = problem("url = 'http://h'\nevents = ['message.publish']\ntopics = ['a/#/b']");
        assert!(topics.starts_with("m.toml:4: webhook.topics"), "{topics}");
        let text = "[[webhook]]\nurl = 'http://u:pw@h/?key=pw'\nevents = ['message.publish']";
        let printed = Config::from_toml(text, "m.toml").unwrap().to_toml();
        assert!(!printed.contains("pw") && printed.contains("http://***@h/?key=***"), "{printed}");
    }
}
