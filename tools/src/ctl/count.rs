//! Counts as people write them: `100k`, `1M`, `1_000_000`; and back, with their thousands apart.

/// Reads a count. `k` stands for thousands and `M` for millions; `_` may separate digits.
///
/// # Errors
/// What was expected, for the command line's message.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a count such as 100k, 1M or 1_000_000");
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '_');
    if !is_number {
        return Err(wrong());
    }
    let number: u64 = digits.replace('_', "").parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}

/// `1000000` as `1,000,000`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_people_write_them() {
        for (text, count) in
            [("1", 1), ("100k", 100_000), ("1M", 1_000_000), ("1_000_000", 1_000_000), ("2m", 2_000_000)]
        {
            assert_eq!(parse(text), Ok(count), "{text}");
        }
        for text in ["", "k", "M", "-1", "1.5M", "_1", "1_", "1 M", "1G", "99999999999999M", "+1", "1M\u{e9}"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
