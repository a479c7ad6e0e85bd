//! Topic Names and Topic Filters: their syntax, their levels, and which filter matches which name.
//! Text in, answers out: nothing here allocates but the owned types `TopicName` and `TopicFilter`.
//! MQTT 5.0 section 4.7 (3.1.1 section 4.7 says the same); Shared Subscriptions are section 4.8.2.

mod filter;
mod levels;
mod matching;
mod name;
mod share;

pub use filter::{TopicFilter, check_filter};
pub use levels::{has_wildcard, levels, literal_levels, literal_prefix, prefixes};
pub use matching::matches;
pub use name::{TopicName, check_name};
pub use share::{QUEUE_SHARE_NAME, Share, canonical, parse_share};

use thiserror::Error;

/// What a Topic Name or Topic Filter may measure at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLimits {
    /// Bytes of UTF-8.
    pub len_max: u16,
    /// Levels, that is separators plus one.
    pub levels_max: u16,
}

impl Default for TopicLimits {
    /// What the specification itself allows: 65,535 bytes of any number of levels.
    fn default() -> Self {
        Self { len_max: u16::MAX, levels_max: u16::MAX }
    }
}

/// Why a text is no Topic Name or no Topic Filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TopicError {
    /// Topic Names and Topic Filters have at least one character.
    #[error("is empty, expected at least one character [MQTT-4.7.3-1]")]
    Empty,
    /// U+0000 is in no topic.
    #[error("holds U+0000 [MQTT-4.7.3-2]")]
    Nul,
    /// Longer than this broker takes, or than the specification allows.
    #[error("has {len} bytes, at most {max} are accepted [MQTT-4.7.3-3]")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Bytes accepted.
        max: u16,
    },
    /// Deeper than this broker takes.
    #[error("has more than {max} levels")]
    TooManyLevels {
        /// Levels accepted.
        max: u16,
    },
    /// A Topic Name holds no wildcard.
    #[error("holds the wildcard `{found}`, a Topic Name has none [MQTT-4.7.1-1]")]
    WildcardInName {
        /// The wildcard.
        found: char,
    },
    /// `+` occupies an entire level.
    #[error("has `+` beside other characters of its level [MQTT-4.7.1-2]")]
    SingleLevelWildcard,
    /// `#` occupies the entire last level.
    #[error("has `#` before its end, or beside other characters of its level [MQTT-4.7.1-1]")]
    MultiLevelWildcard,
    /// `$share/` is followed by a Share Name of at least one character.
    #[error("has an empty Share Name [MQTT-4.8.2-1]")]
    ShareNameEmpty,
    /// A Share Name holds neither `+` nor `#`.
    #[error("has the wildcard `{found}` in its Share Name [MQTT-4.8.2-2]")]
    ShareNameWildcard {
        /// The wildcard.
        found: char,
    },
    /// A Share Name is followed by `/` and a Topic Filter.
    #[error("ends after its Share Name, expected `/` and a Topic Filter [MQTT-4.8.2-2]")]
    ShareWithoutFilter,
}

/// The checks that names and filters have in common: not empty, no U+0000, within the limits.
fn check_size(text: &str, limits: &TopicLimits) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > usize::from(limits.len_max) {
        return Err(TopicError::TooLong { len: text.len(), max: limits.len_max });
    }
    // A text of n bytes has at most n + 1 levels: most need no count.
    if text.len() >= usize::from(limits.levels_max) {
        let separators = text.bytes().filter(|byte| *byte == b'/').count();
        if separators >= usize::from(limits.levels_max) {
            return Err(TopicError::TooManyLevels { max: limits.levels_max });
        }
    }
    Ok(())
}
