//! Numbers as people read them: thousands separators, units, times, a command line that a shell takes back.
//!
//! Three significant digits, no trailing zeros. Whatever is not finite reads as a dash, never as `NaN`.

/// Stands for a figure that was not measured.
pub(super) const NONE: &str = "–";

pub(super) use crate::million::size::grouped as integer;

/// Rounded to an integer, with thousands separators: bytes of one connection, a rate.
pub(super) fn rounded(v: f64) -> String {
    if !v.is_finite() {
        return NONE.into();
    }
    let sign = if v <= -0.5 { "-" } else { "" };
    // A cast from float to integer saturates.
    format!("{sign}{}", integer(v.abs().round() as u64))
}

/// Without a unit, for axes: `1M`, `350k`, `0.5`.
pub(super) fn short(v: f64) -> String {
    scaled(v, &[(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")])
}

/// Bytes in powers of 1000: `1.2 GB`.
pub(super) fn bytes(v: f64) -> String {
    scaled(v, &[(1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1.0, " B")])
}

/// Microseconds: `350 µs`, `1.24 ms`, `2.1 s`.
pub(super) fn micros(v: f64) -> String {
    scaled(v, &[(1e6, " s"), (1e3, " ms"), (1.0, " µs")])
}

/// Seconds as a length: `8.2 s`, `12 min 5 s`, `2 h 3 min`.
pub(super) fn seconds(v: f64) -> String {
    if !v.is_finite() {
        return NONE.into();
    }
    if v < 99.5 {
        return format!("{} s", significant(v));
    }
    let whole = v.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Seconds as a place on the time axis: `1:15`, `1:02:05`.
pub(super) fn clock(v: f64) -> String {
    if !v.is_finite() {
        return NONE.into();
    }
    let whole = v.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A ratio as percent: `0.052` as `5.2 %`.
pub(super) fn percent(ratio: f64) -> String {
    if ratio.is_finite() { format!("{} %", significant(ratio * 100.0)) } else { NONE.into() }
}

/// A number without unit to three significant digits: `1.08`.
pub(super) fn plain(v: f64) -> String {
    if v.is_finite() { significant(v) } else { NONE.into() }
}

/// `one` of 1, `many` of any other number: `3 connections`.
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", integer(n), if n == 1 { one } else { many })
}

/// Words as a line that a POSIX shell splits into the same words.
pub(super) fn command_line(words: &[String]) -> String {
    words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// In the largest of `units` (descending) that leaves at least 1.
fn scaled(v: f64, units: &[(f64, &str)]) -> String {
    if !v.is_finite() {
        return NONE.into();
    }
    // 0.9995: what would round to 1000 of a unit is written as 1 of the next.
    let unit = units.iter().find(|(size, _)| v.abs() >= size * 0.9995).or(units.last());
    match unit {
        Some((size, name)) => format!("{}{name}", significant(v / size)),
        None => significant(v),
    }
}

fn significant(v: f64) -> String {
    if v.abs() < 1e-6 {
        return "0".into();
    }
    if v.abs() >= 999.5 {
        return rounded(v);
    }
    let decimals = (2 - v.abs().log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{v:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_separators() {
        assert_eq!(
            [0, 7, 999, 1000, 65_536, 1_000_000].map(integer),
            ["0", "7", "999", "1,000", "65,536", "1,000,000"]
        );
        assert_eq!([3911.6, -1234.0, -0.2, 0.4].map(rounded), ["3,912", "-1,234", "0", "0"]);
        assert_eq!(integer(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn units_follow_the_size() {
        assert_eq!(
            [0.0, 612.0, 1000.0, 1.2e9, 15_340_000_000.0, 999_999.0].map(bytes),
            ["0 B", "612 B", "1 kB", "1.2 GB", "15.3 GB", "1 MB"]
        );
        assert_eq!(
            [0.35, 350.0, 999.7, 1240.0, 2_100_000.0, 75e6].map(micros),
            ["0.35 µs", "350 µs", "1 ms", "1.24 ms", "2.1 s", "75 s"]
        );
        assert_eq!([0.5, 12.0, 1500.0, 350_000.0, 1e6].map(short), ["0.5", "12", "1.5k", "350k", "1M"]);
        assert_eq!([0.0, 0.00052, 0.0345, 1.0].map(percent), ["0 %", "0.052 %", "3.45 %", "100 %"]);
    }

    #[test]
    fn times_are_lengths_or_places() {
        assert_eq!(
            [0.42, 8.23, 75.0, 120.0, 725.4, 3600.0, 7405.0].map(seconds),
            ["0.42 s", "8.23 s", "75 s", "2 min", "12 min 5 s", "1 h", "2 h 3 min"]
        );
        assert_eq!([0.0, 75.0, 1800.0, 3725.0].map(clock), ["0:00", "1:15", "30:00", "1:02:05"]);
    }

    #[test]
    fn what_is_not_finite_is_a_dash() {
        for v in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for format in [rounded, short, bytes, micros, seconds, clock, percent, plain] {
                assert_eq!(format(v), NONE);
            }
        }
    }

    #[test]
    fn a_shell_takes_the_command_line_back() {
        let words = ["myriad-bench", "--set", "a.b='x y'", "", "$HOME"].map(String::from);
        assert_eq!(command_line(&words), r"myriad-bench --set 'a.b='\''x y'\''' '' '$HOME'");
    }

    #[test]
    fn one_and_many() {
        assert_eq!(counted(1, "core", "cores"), "1 core");
        assert_eq!(counted(2000, "core", "cores"), "2,000 cores");
    }
}
