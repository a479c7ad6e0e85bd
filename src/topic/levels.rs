//! The levels of a topic, and its beginnings of whole levels, by which wildcard filters are found.

/// The levels of a Topic Name or Topic Filter, in order; they may be empty, there is at least one.
pub fn levels(topic: &str) -> impl DoubleEndedIterator<Item = &str> + Clone {
    topic.split('/')
}

/// Whether a valid Topic Filter has a wildcard.
pub fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

/// The levels of a valid Topic Filter before its first wildcard, without the separator that follows them; all
/// of it if it has none. Empty both for no level (`+/a`) and for one empty level (`/+`): [`literal_levels`]
/// tells them apart.
pub fn literal_prefix(filter: &str) -> &str {
    match filter.bytes().position(|byte| matches!(byte, b'+' | b'#')) {
        None => filter,
        Some(wildcard) => filter.get(..wildcard.saturating_sub(1)).unwrap_or_default(),
    }
}

/// How many levels of a valid Topic Filter stand before its first wildcard.
pub fn literal_levels(filter: &str) -> usize {
    levels(filter).take_while(|level| !matches!(*level, "+" | "#")).count()
}

/// Every beginning of whole levels of a Topic Name, with its number of levels: `("", 0)`, `("a", 1)`,
/// `("a/b", 2)` of `a/b`. A wildcard filter that matches the name has one of them as `literal_prefix` and
/// `literal_levels`.
pub fn prefixes(name: &str) -> impl Iterator<Item = (&str, usize)> {
    let ends = name.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    std::iter::once("")
        .chain(ends.chain(std::iter::once(name.len())).map(|end| name.get(..end).unwrap_or_default()))
        .enumerate()
        .map(|(count, prefix)| (prefix, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_4_7_1_1_separators_at_the_ends_and_side_by_side_make_empty_levels() {
        assert_eq!(levels("/a//b/").collect::<Vec<_>>(), ["", "a", "", "b", ""]);
        assert_eq!(levels("a").collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn literal_prefixes_stop_before_the_wildcard() {
        let cases = [
            ("a/b/c", "a/b/c", 3),
            ("a/b/+/c", "a/b", 2),
            ("a/#", "a", 1),
            ("#", "", 0),
            ("+/a", "", 0),
            ("/+", "", 1),
            ("//#", "/", 2),
        ];
        for (filter, prefix, count) in cases {
            assert_eq!(literal_prefix(filter), prefix, "{filter}");
            assert_eq!(literal_levels(filter), count, "{filter}");
        }
    }

    #[test]
    fn prefixes_are_all_beginnings() {
        assert_eq!(prefixes("a/b").collect::<Vec<_>>(), [("", 0), ("a", 1), ("a/b", 2)]);
        assert_eq!(prefixes("/a").collect::<Vec<_>>(), [("", 0), ("", 1), ("/a", 2)]);
        for (filter, name) in [("a/#", "a"), ("+/b", "a/b"), ("/+", "/a"), ("a/b/#", "a/b/c")] {
            let wanted = (literal_prefix(filter), literal_levels(filter));
            assert!(super::super::matches(filter, name));
            assert!(prefixes(name).any(|prefix| prefix == wanted), "{filter} of {name}");
        }
    }

    #[test]
    fn wildcards_are_seen() {
        assert!(has_wildcard("a/+") && has_wildcard("#") && !has_wildcard("a/b"));
    }
}
