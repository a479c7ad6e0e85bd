//! Numbers as people write them: `1000`, `1_000_000`, `100k`, `1M`, `1.3M`.

/// A count with an optional suffix (k: thousand, M: million), underscores anywhere between digits.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    let wrong = || format!("'{text}' is no count; write it as 1000, 1_000_000, 100k or 1M");
    let trimmed = text.trim();
    let (digits, scale) = match trimmed.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (trimmed.get(..at), 1e3),
        Some((at, 'm' | 'M')) => (trimmed.get(..at), 1e6),
        Some(_) => (Some(trimmed), 1.0),
        None => (None, 1.0),
    };
    let digits = digits.unwrap_or_default().replace('_', "");
    if !trimmed.starts_with(|c: char| c.is_ascii_digit())
        || !digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        return Err(wrong());
    }
    let value = digits.parse::<f64>().map_err(|_| wrong())? * scale;
    if value.fract() != 0.0 {
        return Err(wrong());
    }
    if !(1.0..=f64::from(CLIENTS_MAX)).contains(&value) {
        return Err(format!("'{text}' must be from 1 to {CLIENTS_MAX}"));
    }
    Ok(value as u32)
}

/// Most clients of a run: their numbers share 32 bits with what a connection is to its client.
pub(crate) const CLIENTS_MAX: u32 = 100_000_000;

/// A count as a person reads it: `1,000,000`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// Bytes as a person reads them: `41.3 MB`.
pub(crate) fn bytes(n: u64) -> String {
    let n = n as f64;
    if n < 1e6 {
        format!("{:.0} kB", n / 1e3)
    } else if n < 1e9 {
        format!("{:.1} MB", n / 1e6)
    } else {
        format!("{:.2} GB", n / 1e9)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_suffixes_and_underscores() {
        for (text, value) in [
            ("1", 1),
            ("1000", 1000),
            ("1_000_000", 1_000_000),
            ("100k", 100_000),
            ("1M", 1_000_000),
            (" 1.3M ", 1_300_000),
            ("0.5k", 500),
        ] {
            assert_eq!(count(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_count_is_refused() {
        for text in ["", "k", "M", "-1", "1.5", "1kk", "1e3", "_1", "0", "1G", "200M", "0.0001k", "NaN", "é"]
        {
            assert!(count(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([41_300_000, 500, 7_000_000_000].map(bytes), ["41.3 MB", "0 kB", "7.00 GB"]);
    }
}
