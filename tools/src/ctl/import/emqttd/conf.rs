//! `key = value` of emqttd 2.x.

use super::super::draft::{Draft, Fate, Origin};
use super::Entry;

/// The options of the text, in order. A key that stands there twice: the last one counts, as in emqttd.
pub(super) fn entries(text: &str, name: &str, draft: &mut Draft) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{name}:{}", number + 1);
        let Some((key, value)) = line.split_once('=') else {
            draft.note(&Origin { place, line: line.into() }, Fate::Unmapped, "expected KEY = VALUE");
            continue;
        };
        let (key, value) = (key.trim(), value.trim().trim_matches('"'));
        let is_secret = ["password", "cookie", "secret"].iter().any(|word| key.contains(word));
        let line = if is_secret { format!("{key} = ***") } else { line.to_owned() };
        let entry = Entry { key: key.into(), value: value.into(), origin: Origin { place, line } };
        entries.retain(|old| old.key != entry.key);
        entries.push(entry);
    }
    entries
}

/// `30s`, `2h`, `1h30m`, `500ms` or a number, in seconds; rounded up.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (mut rest, mut total_ms, mut is_unit) = (text.trim(), 0u64, false);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let n: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let factor = match rest.get(..unit)? {
            "ms" => 1,
            "s" => 1000,
            "" if !is_unit => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "f" => 1_209_600_000,
            _ => return None,
        };
        is_unit = true;
        total_ms = total_ms.checked_add(n.checked_mul(factor)?)?;
        rest = rest.get(unit..)?.trim_start();
    }
    is_unit.then_some(total_ms.div_ceil(1000))
}

/// `64KB`, `1MB`, `1GB` (times 1024, as emqttd has them) or a number of bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let n: u64 = text.get(..digits)?.parse().ok()?;
    let factor = match text.get(digits..)?.trim() {
        "" | "B" => 1,
        "KB" | "K" => 1 << 10,
        "MB" | "M" => 1 << 20,
        "GB" | "G" => 1 << 30,
        _ => return None,
    };
    n.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_emqttds() {
        for (text, n) in [
            ("30s", Some(30)),
            ("2h", Some(7200)),
            ("1h30m", Some(5400)),
            ("1h 30m", Some(5400)),
            ("1500ms", Some(2)),
            ("0", Some(0)),
            ("20", Some(20)),
            ("", None),
            ("s", None),
            ("5x", None),
            ("1é", None),
        ] {
            assert_eq!(seconds(text), n, "{text}");
        }
        for (text, n) in [
            ("64KB", Some(65_536)),
            ("1 mb", Some(1 << 20)),
            ("10", Some(10)),
            ("", None),
            ("KB", None),
            ("1TB", None),
        ] {
            assert_eq!(bytes(text), n, "{text}");
        }
    }
}
