//! Whether a Topic Filter matches a Topic Name: byte by byte, level by level, no normalisation
//! ([MQTT-4.7.3-4]), no case folding.

/// Whether the valid Topic Filter `filter` matches the valid Topic Name `topic` (section 4.7). A filter that
/// begins with a wildcard matches no name that begins with `$` ([MQTT-4.7.2-1]). A filter of a Shared
/// Subscription is given without its `$share/{ShareName}/`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    // Both are walked byte by byte: in a valid filter a wildcard stands at the beginning of its level, and a
    // level of the name begins at the same moment.
    let (mut wanted, mut found) = (filter.as_bytes(), topic.as_bytes());
    while let Some((&byte, rest)) = wanted.split_first() {
        match (byte, found.split_first()) {
            (b'#', _) => return true,
            (b'+', _) => found = skip_level(found),
            (_, Some((same, after))) if *same == byte => found = after,
            // `a/#` matches `a` too: the parent level is included.
            (b'/', None) => return rest == b"#",
            _ => return false,
        }
        wanted = rest;
    }
    found.is_empty()
}

/// What follows the first level of `name`, from its separator on.
fn skip_level(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
    name.get(end..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_4_7_1_2_the_multi_level_wildcard_includes_the_parent() {
        for topic in ["sport", "sport/tennis", "sport/tennis/player1/ranking", "sport/"] {
            assert!(matches("sport/#", topic), "{topic}");
        }
        assert!(!matches("sport/#", "sports"));
        assert!(!matches("sport/#", "/sport"));
        assert!(matches("#", "any/thing") && matches("#", "/"));
    }

    #[test]
    fn mqtt_4_7_1_3_the_single_level_wildcard_matches_one_level() {
        assert!(matches("sport/tennis/+", "sport/tennis/player1"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("sport/+", "sport/"));
        assert!(matches("+/+", "/finance") && matches("/+", "/finance") && !matches("+", "/finance"));
        assert!(matches("+/tennis/#", "a/tennis"));
    }

    #[test]
    fn mqtt_4_7_2_1_leading_wildcards_do_not_match_dollar_topics() {
        assert!(!matches("#", "$SYS/monitor/Clients"));
        assert!(!matches("+/monitor/Clients", "$SYS/monitor/Clients"));
        assert!(matches("$SYS/#", "$SYS/monitor/Clients"));
        assert!(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
        assert!(matches("+/$x", "a/$x"));
    }

    #[test]
    fn mqtt_4_7_3_4_names_are_compared_byte_by_byte() {
        assert!(!matches("ACCOUNTS", "Accounts"));
        assert!(!matches("a", "\u{feff}a"));
        assert!(!matches("caf\u{e9}", "cafe\u{301}"));
        assert!(matches("a/b", "a/b") && !matches("a/b", "a/b/") && !matches("a/b/", "a/b"));
    }
}
