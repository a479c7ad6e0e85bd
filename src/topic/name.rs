//! Topic Names: what a PUBLISH, a Will and a Response Topic carry. No wildcards.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use super::{TopicError, TopicLimits, check_size};

/// A valid Topic Name that owns its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Box<str>);

/// Checks that `text` is a Topic Name within `limits`.
///
/// # Errors
/// Empty, too long, too deep, U+0000 or a wildcard in it (section 4.7.3, [MQTT-3.3.2-2]).
pub fn check_name(text: &str, limits: &TopicLimits) -> Result<(), TopicError> {
    check_size(text, limits)?;
    match text.bytes().find(|byte| matches!(byte, 0 | b'+' | b'#')) {
        None => Ok(()),
        Some(0) => Err(TopicError::Nul),
        Some(wildcard) => Err(TopicError::WildcardInName { found: char::from(wildcard) }),
    }
}

impl TopicName {
    /// Checks and copies `text`.
    ///
    /// # Errors
    /// Those of [`check_name`].
    pub fn parse(text: &str, limits: &TopicLimits) -> Result<Self, TopicError> {
        check_name(text, limits)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for TopicName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ANY: TopicLimits = TopicLimits { len_max: u16::MAX, levels_max: u16::MAX };

    #[test]
    fn mqtt_4_7_3_1_a_name_has_at_least_one_character() {
        assert_eq!(check_name("", &ANY), Err(TopicError::Empty));
        assert_eq!(check_name("/", &ANY), Ok(()));
        assert_eq!(check_name(" ", &ANY), Ok(()));
    }

    #[test]
    fn mqtt_4_7_3_2_a_name_holds_no_nul() {
        assert_eq!(check_name("a\0b", &ANY), Err(TopicError::Nul));
    }

    #[test]
    fn mqtt_4_7_3_3_a_name_has_at_most_65535_bytes() {
        let longest = "x".repeat(65_535);
        assert_eq!(check_name(&longest, &ANY), Ok(()));
        let longer = "x".repeat(65_536);
        assert_eq!(check_name(&longer, &ANY), Err(TopicError::TooLong { len: 65_536, max: 65_535 }));
    }

    #[test]
    fn mqtt_4_7_1_1_a_name_holds_no_wildcard() {
        assert_eq!(check_name("a/+", &ANY), Err(TopicError::WildcardInName { found: '+' }));
        assert_eq!(check_name("a#", &ANY), Err(TopicError::WildcardInName { found: '#' }));
    }

    #[test]
    fn names_keep_case_spaces_and_the_byte_order_mark() {
        let name = TopicName::parse("\u{feff}Accounts payable/Ä/$x", &ANY).unwrap();
        assert_eq!(name.as_str(), "\u{feff}Accounts payable/Ä/$x");
        assert_ne!(name, TopicName::parse("\u{feff}ACCOUNTS payable/Ä/$x", &ANY).unwrap());
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let limits = TopicLimits { len_max: 5, levels_max: 3 };
        assert_eq!(check_name("a/b/c", &limits), Ok(()));
        assert_eq!(check_name("a//b/", &limits), Err(TopicError::TooManyLevels { max: 3 }));
        assert_eq!(check_name("///", &limits), Err(TopicError::TooManyLevels { max: 3 }));
        assert_eq!(check_name("abcdef", &limits), Err(TopicError::TooLong { len: 6, max: 5 }));
    }
}
