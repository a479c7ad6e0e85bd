//! Topic Names, Topic Filters and their matching, against a model that is too slow and too plain to be wrong.

use myriad::topic::{
    TopicLimits, check_filter, check_name, has_wildcard, literal_levels, literal_prefix, matches,
    parse_share, prefixes,
};

/// Checks a filter and a name: two lines of `data`.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (filter, name) = text.split_once('\n').unwrap_or((text, "a/b"));
    let limits = TopicLimits::default();
    let fits = |text: &str| !text.is_empty() && text.len() <= 65_535 && !text.contains('\0');

    let is_name = check_name(name, &limits).is_ok();
    assert_eq!(is_name, fits(name) && !name.contains(['+', '#']), "{name:?}");
    let is_filter = check_filter(filter, &limits).is_ok();
    assert_eq!(is_filter, fits(filter) && wildcards_are_placed(filter), "{filter:?}");
    check_levels(filter);
    check_share(filter);
    if is_filter && is_name {
        let wanted: Vec<&str> = filter.split('/').collect();
        let found: Vec<&str> = name.split('/').collect();
        let hidden = name.starts_with('$') && matches!(wanted.first(), Some(&"+" | &"#"));
        let model = !hidden && model_matches(&wanted, &found);
        assert_eq!(matches(filter, name), model, "{filter:?} and {name:?}");
        if model && has_wildcard(filter) {
            let slot = (literal_prefix(filter), literal_levels(filter));
            assert!(prefixes(name).any(|prefix| prefix == slot), "{filter:?} and {name:?}");
        }
    }
}

/// Wildcards fill a level, `#` the last.
fn wildcards_are_placed(filter: &str) -> bool {
    let characters: Vec<char> = filter.chars().collect();
    characters.iter().enumerate().all(|(at, character)| {
        let begins = at == 0 || characters[at - 1] == '/';
        let next = characters.get(at + 1);
        match character {
            '+' => begins && matches!(next, None | Some('/')),
            '#' => begins && next.is_none(),
            _ => true,
        }
    })
}

fn model_matches(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        ([], []) | (["#"], _) => true,
        (["+", filter @ ..], [_, name @ ..]) => model_matches(filter, name),
        ([wanted, filter @ ..], [found, name @ ..]) => wanted == found && model_matches(filter, name),
        _ => false,
    }
}

fn check_levels(text: &str) {
    let limits = |levels_max| TopicLimits { len_max: u16::MAX, levels_max };
    let levels = text.split('/').count();
    if check_name(text, &TopicLimits::default()).is_ok() {
        if let Ok(exact) = u16::try_from(levels) {
            assert!(check_name(text, &limits(exact)).is_ok());
            assert!(check_name(text, &limits(exact - 1)).is_err());
        }
        assert_eq!(prefixes(text).count(), levels + 1);
    }
}

fn check_share(filter: &str) {
    match parse_share(filter) {
        Ok(Some(share)) => {
            assert_eq!(format!("$share/{}/{}", share.name, share.filter), filter);
            assert!(!share.name.is_empty() && !share.name.contains(['/', '+', '#']));
            assert!(!share.filter.is_empty());
        }
        Ok(None) => assert!(!filter.starts_with("$share/")),
        Err(_) => assert!(filter.starts_with("$share/")),
    }
}
