//! Every Application Message of a run, known by its payload: who sent it, when, how often, and when it was accepted.
//! Also the model's own matching of topics, written apart from the broker's.

/// Index into `Model::messages`.
pub type MessageNumber = usize;

/// One transmission of a PUBLISH, as the broker's end saw it.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// When its last byte came in.
    pub from: u64,
    /// When it was surely handled: the same moment, unless its connection was stalled or on its way home.
    pub until: Option<u64>,
}

/// Whether an accepted message was kept as the retained one of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stored {
    Yes,
    /// Too large: and what it should have replaced is gone.
    No,
    /// Nobody outside can know.
    #[default]
    Maybe,
}

/// An Application Message.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub publisher: usize,
    /// The publisher's session. No Local is held to sessions, not to Client Identifiers: what an earlier session of
    /// the same client had published and is still under way may come.
    pub session: Option<usize>,
    /// The connection that sent it first, or whose Will it is.
    pub socket: usize,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    pub size: usize,
    /// Order within publisher and topic.
    pub key: u64,
    pub will: bool,
    /// Empty payload: deletes the retained message.
    pub delete: bool,
    /// Stamp of each transmission; of a Will: when its connection ended.
    pub sent: Vec<u64>,
    /// Stamp at which its publisher heard that it is accepted.
    pub accepted: Option<u64>,
    /// And the moment.
    pub accepted_at: Option<u64>,
    /// Message Expiry Interval.
    pub expiry_s: Option<u32>,
    /// Its transmissions that reached the broker.
    pub passages: Vec<Passage>,
    pub stored: Stored,
}

/// What nobody may publish to, and who hears all would hear: `d/…`.
pub const RULES: &str = "{deny, all, publish, [\"d/#\"]}. {allow, all}.";

impl Message {
    /// The ACL of every run denies it.
    pub fn is_denied(&self) -> bool {
        self.topic.starts_with("d/")
    }

    /// The moments between which the broker may process it.
    pub fn interval(&self) -> (u64, u64) {
        // What was sent again is acknowledged perhaps while the first one is still on its way between shards.
        let until = self.accepted.filter(|_| self.sent.len() == 1).unwrap_or(u64::MAX);
        (self.sent.first().copied().unwrap_or(u64::MAX), until)
    }
}

/// The payload that names message `number`, `size` bytes long if that is enough.
pub fn payload(number: MessageNumber, size: usize) -> Vec<u8> {
    let mut payload = format!("m{number};").into_bytes();
    while payload.len() < size {
        payload.push(b'a' + (payload.len() % 26) as u8);
    }
    payload
}

/// The message that a payload names, if it is unaltered.
pub fn number_of(payload: &[u8]) -> Option<MessageNumber> {
    let end = payload.iter().position(|&b| b == b';')?;
    let number = std::str::from_utf8(payload.get(1..end)?).ok()?.parse().ok()?;
    (self::payload(number, payload.len()) == payload).then_some(number)
}

/// Whether a Topic Filter matches a Topic Name (section 4.7).
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let mut filter = filter.split('/');
    let mut topic = topic.split('/');
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(want), Some(have)) if want == have => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_section_4_7_says() {
        for (filter, topic, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("#", "$x/1", false),
            ("+/1", "$x/1", false),
            ("$x/#", "$x/1", true),
            ("+/+", "/b", true),
            ("a/b", "a/bc", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn a_payload_names_its_message() {
        assert_eq!(number_of(&payload(17, 90)), Some(17));
        assert_eq!(number_of(&payload(17, 0)), Some(17));
        let mut altered = payload(17, 90);
        altered[50] = b'!';
        assert_eq!(number_of(&altered), None);
    }
}
