//! Topic Filters: what a SUBSCRIBE and an UNSUBSCRIBE carry. Wildcards fill a level: `+` any, `#` the last.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use super::{TopicError, TopicLimits, check_size, has_wildcard, levels};

/// A valid Topic Filter that owns its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Box<str>);

/// Checks that `text` is a Topic Filter within `limits`. The Topic Filter of a Shared Subscription is checked
/// without its `$share/{ShareName}/`, see [`super::parse_share`].
///
/// # Errors
/// Empty, too long, too deep, U+0000, or a wildcard at a place of its own rules (section 4.7.1).
pub fn check_filter(text: &str, limits: &TopicLimits) -> Result<(), TopicError> {
    check_size(text, limits)?;
    if text.bytes().any(|byte| byte == 0) {
        return Err(TopicError::Nul);
    }
    if !has_wildcard(text) {
        return Ok(());
    }
    let mut rest = levels(text);
    while let Some(level) = rest.next() {
        match level {
            "+" => {}
            "#" if rest.next().is_none() => return Ok(()),
            _ if level.contains('#') => return Err(TopicError::MultiLevelWildcard),
            _ if level.contains('+') => return Err(TopicError::SingleLevelWildcard),
            _ => {}
        }
    }
    Ok(())
}

impl TopicFilter {
    /// Checks and copies `text`.
    ///
    /// # Errors
    /// Those of [`check_filter`].
    pub fn parse(text: &str, limits: &TopicLimits) -> Result<Self, TopicError> {
        check_filter(text, limits)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this filter matches a Topic Name.
    pub fn matches(&self, name: &str) -> bool {
        super::matches(&self.0, name)
    }
}

impl Deref for TopicFilter {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TopicFilter {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
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
    fn mqtt_4_7_1_1_the_multi_level_wildcard_is_the_whole_last_level() {
        for filter in ["#", "/#", "sport/tennis/#", "sport//#", "+/#"] {
            assert_eq!(check_filter(filter, &ANY), Ok(()), "{filter}");
        }
        for filter in ["sport/tennis#", "sport/tennis/#/ranking", "##", "#/", "#a", "a/#b", "+#"] {
            assert_eq!(check_filter(filter, &ANY), Err(TopicError::MultiLevelWildcard), "{filter}");
        }
    }

    #[test]
    fn mqtt_4_7_1_2_the_single_level_wildcard_is_a_whole_level() {
        for filter in ["+", "+/tennis/#", "/+", "+/+", "sport/+/player1", "+/"] {
            assert_eq!(check_filter(filter, &ANY), Ok(()), "{filter}");
        }
        for filter in ["sport+", "++", "a/+b/c", "a/b+"] {
            assert_eq!(check_filter(filter, &ANY), Err(TopicError::SingleLevelWildcard), "{filter}");
        }
    }

    #[test]
    fn mqtt_4_7_3_filters_obey_the_rules_of_all_topics() {
        assert_eq!(check_filter("", &ANY), Err(TopicError::Empty));
        assert_eq!(check_filter("+/\0", &ANY), Err(TopicError::Nul));
        let limits = TopicLimits { len_max: 5, levels_max: 2 };
        assert_eq!(check_filter("+/#", &limits), Ok(()));
        assert_eq!(check_filter("+/+/#", &limits), Err(TopicError::TooManyLevels { max: 2 }));
        assert_eq!(check_filter("abcdef", &limits), Err(TopicError::TooLong { len: 6, max: 5 }));
    }

    #[test]
    fn an_owned_filter_matches() {
        let filter = TopicFilter::parse("a/+", &ANY).unwrap();
        assert!(filter.matches("a/b"));
        assert!(!filter.matches("a/b/c"));
    }
}
