//! Sizes, durations and rates as people read them.

/// A size: `1.5 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (n as f64, "bytes");
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "bytes" { format!("{n} bytes") } else { format!("{size:.1} {unit}") }
}

/// A duration: `3 d 4 h`, `12 m 5 s`, `59 s`.
pub(crate) fn seconds(n: u64) -> String {
    let (days, hours, minutes, rest) = (n / 86_400, n / 3600 % 24, n / 60 % 60, n % 60);
    let parts = match n {
        86_400.. => [(days, "d"), (hours, "h")],
        3600.. => [(hours, "h"), (minutes, "m")],
        60.. => [(minutes, "m"), (rest, "s")],
        _ => [(rest, "s"), (0, "")],
    };
    let [(first, unit), (second, unit_of_second)] = parts;
    if second == 0 { format!("{first} {unit}") } else { format!("{first} {unit} {second} {unit_of_second}") }
}

/// A rate or count in four places: `950`, `12.3 k`, `1.20 M`.
pub(crate) fn short(n: f64) -> String {
    match n {
        _ if n >= 999_950_000.0 => format!("{:.2} G", n / 1e9),
        _ if n >= 999_950.0 => format!("{:.2} M", n / 1e6),
        _ if n >= 9_999.5 => format!("{:.1} k", n / 1e3),
        _ => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([bytes(1023), bytes(1024), bytes(5 << 20)], ["1023 bytes", "1.0 KiB", "5.0 MiB"]);
        for (n, text) in [(0, "0 s"), (61, "1 m 1 s"), (7200, "2 h"), (90_000, "1 d 1 h"), (86_400, "1 d")] {
            assert_eq!(seconds(n), text);
        }
        for (n, text) in [(0.4, "0"), (9_999.0, "9999"), (12_345.0, "12.3 k"), (1_200_000.0, "1.20 M")] {
            assert_eq!(short(n), text);
        }
    }
}
