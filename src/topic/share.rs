//! Shared Subscriptions: `$share/{ShareName}/{filter}` (MQTT 5.0 section 4.8.2), and emqttd's older prefixes of filters.

use std::borrow::Cow;

use super::TopicError;

/// The Share Name of `$queue/{filter}`.
pub const QUEUE_SHARE_NAME: &str = "$queue";
const QUEUE_PREFIX: &str = "$queue/";
const LOCAL_PREFIX: &str = "$local/";

/// What a filter with one of emqttd's prefixes stands for: `$queue/{filter}` is the Shared Subscription of all who subscribe
/// so, `$local/{filter}` a subscription to what is published on this node, which without a cluster is everything. Other
/// filters are themselves. The result is not checked yet.
pub fn canonical(filter: &str) -> Cow<'_, str> {
    if let Some(inner) = filter.strip_prefix(QUEUE_PREFIX) {
        return format!("$share/{QUEUE_SHARE_NAME}/{inner}").into();
    }
    filter.strip_prefix(LOCAL_PREFIX).unwrap_or(filter).into()
}

/// The two parts of the Topic Filter of a Shared Subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share<'a> {
    /// The Share Name: the sessions that subscribe with it share the messages.
    pub name: &'a str,
    /// The Topic Filter proper, not yet checked: see [`super::check_filter`].
    pub filter: &'a str,
}

/// Takes the Topic Filter of a Shared Subscription apart; `None` if it is of an ordinary subscription.
///
/// # Errors
/// `$share/` without a Share Name, with a wildcard in it, or without a filter after it
/// ([MQTT-4.8.2-1], [MQTT-4.8.2-2]).
pub fn parse_share(filter: &str) -> Result<Option<Share<'_>>, TopicError> {
    let Some(rest) = filter.strip_prefix("$share/") else {
        return Ok(None);
    };
    let (name, inner) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(TopicError::ShareNameEmpty);
    }
    if let Some(found) = name.chars().find(|c| matches!(c, '+' | '#')) {
        return Err(TopicError::ShareNameWildcard { found });
    }
    if inner.is_empty() {
        return Err(TopicError::ShareWithoutFilter);
    }
    Ok(Some(Share { name, filter: inner }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_name_and_filter_are_parted() {
        let wanted = Share { name: "consumer1", filter: "sport/tennis/+" };
        assert_eq!(parse_share("$share/consumer1/sport/tennis/+"), Ok(Some(wanted)));
        assert_eq!(parse_share("$share/g//finance"), Ok(Some(Share { name: "g", filter: "/finance" })));
        assert_eq!(parse_share("$share/g//"), Ok(Some(Share { name: "g", filter: "/" })));
    }

    #[test]
    fn prefixes_of_emqttd_stand_for_other_filters() {
        assert_eq!(canonical("$queue/a/+"), "$share/$queue/a/+");
        assert_eq!(canonical("$local/a/#"), "a/#");
        for filter in ["a", "$share/g/a", "$queue", "$local", "x/$queue/a"] {
            assert_eq!(canonical(filter), filter);
        }
        assert_eq!(parse_share(&canonical("$queue/")), Err(TopicError::ShareWithoutFilter));
    }

    #[test]
    fn other_filters_are_ordinary() {
        for filter in ["a/b", "$share", "$shared/g/a", "$SHARE/g/a", "a/$share/g/b", "/$share/g/a", "#"] {
            assert_eq!(parse_share(filter), Ok(None), "{filter}");
        }
    }

    #[test]
    fn mqtt_4_8_2_1_a_share_name_has_at_least_one_character() {
        for filter in ["$share/", "$share//", "$share//a"] {
            assert_eq!(parse_share(filter), Err(TopicError::ShareNameEmpty), "{filter}");
        }
    }

    #[test]
    fn mqtt_4_8_2_2_a_share_name_holds_no_wildcard_and_a_filter_follows() {
        assert_eq!(parse_share("$share/g+/a"), Err(TopicError::ShareNameWildcard { found: '+' }));
        assert_eq!(parse_share("$share/#"), Err(TopicError::ShareNameWildcard { found: '#' }));
        assert_eq!(parse_share("$share/+/a"), Err(TopicError::ShareNameWildcard { found: '+' }));
        assert_eq!(parse_share("$share/g"), Err(TopicError::ShareWithoutFilter));
        assert_eq!(parse_share("$share/g/"), Err(TopicError::ShareWithoutFilter));
    }
}
