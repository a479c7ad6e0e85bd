//! Moments and durations as `$SYS` shows them. The caller reads the clock.

use std::fmt::Write;

const DAY_S: u64 = 86_400;

/// The UTC date and time of `unix_s` (seconds since 1970) as `2026-03-06 10:00:00`, as emqttd wrote it.
pub fn datetime_utc(unix_s: u64) -> String {
    let (year, month, day) = civil_from_days(unix_s / DAY_S);
    let second = unix_s % DAY_S;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// The moment `unix_ms` (milliseconds since 1970) as RFC 3339 has it, in UTC: `2026-03-06T10:00:00.250Z`.
pub fn rfc3339(unix_ms: u64) -> String {
    let text = datetime_utc(unix_ms / 1000).replace(' ', "T");
    format!("{text}.{:03}Z", unix_ms % 1000)
}

/// `s` seconds as `1 days, 2 hours, 3 minutes, 4 seconds`, as emqttd wrote it; leading parts that are 0 are left out.
pub fn uptime(s: u64) -> String {
    let mut text = String::new();
    for (part, unit) in [(s / DAY_S, "days"), (s / 3600 % 24, "hours"), (s / 60 % 60, "minutes")] {
        if part > 0 || !text.is_empty() {
            // Writing to a String can't fail.
            let _ = write!(text, "{part} {unit}, ");
        }
    }
    let _ = write!(text, "{} seconds", s % 60);
    text
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01. Howard Hinnant's `civil_from_days`: it
/// counts in eras of 400 years from 0000-03-01, so that the leap day is a year's last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const ERA: u64 = 146_097;
    // u64::MAX seconds are 2^48 days: the sum can't overflow.
    let z = days + DAYS_TO_1970;
    let (era, day_of_era) = (z / ERA, z % ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (unix_s, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_709_210_096, "2024-02-29 12:34:56"),
            (1_767_225_599, "2025-12-31 23:59:59"),
            (1_767_225_600, "2026-01-01 00:00:00"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (253_402_300_799, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(datetime_utc(unix_s), expected);
        }
        assert!(!datetime_utc(u64::MAX).is_empty());
    }

    #[test]
    fn moments_for_programs() {
        assert_eq!(rfc3339(951_782_399_007), "2000-02-28T23:59:59.007Z");
    }

    #[test]
    fn days_follow_each_other_through_400_years() {
        let is_leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..146_097 {
            assert_eq!(civil_from_days(days), (year, month, day));
            let length = match month {
                2 => 28 + u64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn uptimes() {
        assert_eq!(uptime(0), "0 seconds");
        assert_eq!(uptime(61), "1 minutes, 1 seconds");
        assert_eq!(uptime(3600), "1 hours, 0 minutes, 0 seconds");
        assert_eq!(uptime(86_400 + 2 * 3600 + 3 * 60 + 4), "1 days, 2 hours, 3 minutes, 4 seconds");
    }
}
