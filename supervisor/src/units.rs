//! Formats numbers for people: three significant digits and a unit.
//!
//! The progress bar, the tables and the report share it, so that a number looks the same
//! everywhere.

use std::time::Duration;

/// `10,000`
#[must_use]
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count with its noun, in the plural where needed: `1 record`, `2,000 records`.
#[must_use]
pub(crate) fn counted(value: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(value), if value == 1 { "" } else { "s" })
}

/// `0.42`, `4.2`, `42`, `4,200`: only significant decimals.
#[must_use]
pub(crate) fn number(value: f64) -> String {
    match value {
        v if v >= 99.95 => count(v.round() as u64),
        v if v >= 9.995 => trimmed(format!("{v:.1}")),
        v if v > 0.0 => trimmed(format!("{v:.2}")),
        _ => "0".to_owned(),
    }
}

/// `84.2 MB`, in powers of 1000.
#[must_use]
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut scaled = value as f64;
    let mut unit = "B";
    for next in UNITS {
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        unit = next;
    }
    format!("{} {unit}", number(scaled))
}

/// `41.2 ms`, `2.61 s`, `2 min 05 s`, `1 h 02 min`.
#[must_use]
pub(crate) fn duration(value: Duration) -> String {
    let seconds = value.as_secs_f64();
    if seconds >= 59.995 {
        return clock(value);
    }
    match seconds {
        s if s >= 0.9995 => format!("{} s", number(s)),
        s if s >= 0.000_999_5 => format!("{} ms", number(s * 1e3)),
        s => format!("{} µs", number(s * 1e6)),
    }
}

/// Whole seconds, for estimates: `12 s`, `2 min 05 s`, `1 h 02 min`, `3 d 04 h`.
#[must_use]
pub(crate) fn clock(value: Duration) -> String {
    let seconds = value.as_secs().saturating_add(u64::from(value.subsec_millis() >= 500));
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, min, s) => format!("{min} min {s:02} s"),
        (0, h, min, _) => format!("{h} h {min:02} min"),
        (days, h, _, _) => format!("{days} d {h:02} h"),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_for_people() {
        for (value, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(value), expected);
        }
        for (value, expected) in [
            (0.0, "0"),
            (0.123, "0.12"),
            (1.0, "1"),
            (9.999, "10"),
            (12.34, "12.3"),
            (99.96, "100"),
            (3831.4, "3,831"),
        ] {
            assert_eq!(number(value), expected);
        }
        for (value, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 kB"),
            (84_200_000, "84.2 MB"),
            (999_700, "1 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(value), expected);
        }
    }

    #[test]
    fn durations_pick_their_unit() {
        for (micros, expected) in [
            (0, "0 µs"),
            (850, "850 µs"),
            (1_000, "1 ms"),
            (41_230, "41.2 ms"),
            (999_600, "1 s"),
            (2_614_000, "2.61 s"),
            (59_999_000, "1 min 00 s"),
            (125_400_000, "2 min 05 s"),
            (3_725_000_000, "1 h 02 min"),
            (273_600_000_000, "3 d 04 h"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), expected);
        }
        assert_eq!(clock(Duration::from_millis(1_600)), "2 s");
    }
}
