//! What counts as a number, and which of two comes first.
//!
//! A number is digits with at most one point, a sign before them and an exponent after them if
//! there is one, and spaces around it. Nothing else is: no `inf`, no `nan`, no `1,000`, no `$5`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Decimal places that are kept exactly.
pub(super) const PLACES: u32 = 18;

/// Significant digits that fit exactly; a mantissa below 10¹⁸ is far inside an `i64`.
const DIGITS: u32 = 18;

/// 10⁰ … 10¹⁸
pub(super) const POWERS: [i64; 19] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
    10_000_000_000_000_000,
    100_000_000_000_000_000,
    1_000_000_000_000_000_000,
];

/// A cell, read as a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Number {
    /// An empty cell: there is no value, which is no mistake.
    Missing,
    /// `mantissa / 10^places`, exactly: at most 18 significant digits and 18 decimal places.
    Exact {
        /// All digits.
        mantissa: i64,
        /// How many of them stand after the point.
        places: u8,
    },
    /// Anything longer, larger or smaller, as the nearest double.
    Rounded(f64),
    /// Not a number.
    Not,
}

impl Number {
    /// Reads a cell.
    #[must_use]
    #[inline]
    pub fn parse(cell: &[u8]) -> Self {
        match short(cell) {
            Some((mantissa, places)) => Self::Exact { mantissa, places },
            None => Self::parse_any(cell),
        }
    }

    /// A cell of any length, in the slower way.
    #[must_use]
    pub fn parse_any(cell: &[u8]) -> Self {
        let mut mantissa = 0_u64;
        let (mut digits, mut places) = (0_u32, 0_u32);
        let mut point = false;
        let (negative, rest) = match cell {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        // What nearly every cell is: a few digits, perhaps a point. The rest is for the slow reading.
        for &byte in rest {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
                digits += 1;
                places += u32::from(point);
            } else if byte == b'.' && !point {
                point = true;
            } else {
                return Self::parse_slowly(cell);
            }
        }
        if digits == 0 || digits > DIGITS {
            return Self::parse_slowly(cell);
        }
        #[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "18 digits at most")]
        let (magnitude, places) = (mantissa as i64, places as u8);
        Self::Exact { mantissa: if negative { -magnitude } else { magnitude }, places }
    }

    #[cold]
    fn parse_slowly(cell: &[u8]) -> Self {
        let text = cell.trim_ascii();
        if text.is_empty() {
            return Self::Missing;
        }
        let Some(Parts { negative, digits, point, exponent }) = Parts::of(text) else { return Self::Not };
        let significant = digits.trim_start_matches('0');
        // Zeros at the end move into the exponent, so that 1000000000000000000000 is still exact as 10²¹ is not.
        let kept = significant.trim_end_matches('0');
        let dropped = i64::try_from(significant.len() - kept.len()).unwrap_or(i64::MAX);
        let after = i64::try_from(digits.len() - point).unwrap_or(i64::MAX);
        let places = after.saturating_sub(exponent).saturating_sub(dropped);
        if kept.is_empty() {
            return Self::Exact { mantissa: 0, places: 0 };
        }
        let width = i64::try_from(kept.len()).unwrap_or(i64::MAX);
        // A negative number of places is zeros before the point.
        let fits = width <= i64::from(DIGITS)
            && places <= i64::from(PLACES)
            && width - places.min(0) <= i64::from(DIGITS);
        let exact = fits.then(|| kept.parse::<i64>().ok()).flatten().and_then(|mantissa| {
            let zeros = POWERS.get(usize::try_from(-places.min(0)).ok()?)?;
            Some((mantissa.checked_mul(*zeros)?, u8::try_from(places.max(0)).ok()?))
        });
        match exact {
            Some((magnitude, places)) => {
                Self::Exact { mantissa: if negative { -magnitude } else { magnitude }, places }
            }
            None => match std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()) {
                Some(value) if value.is_finite() => Self::Rounded(value),
                Some(_) | None => Self::Not,
            },
        }
    }

    /// As the nearest double.
    #[must_use]
    pub fn to_f64(self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the nearest is what is asked for")]
            Self::Exact { mantissa, places } => {
                let power = POWERS.get(usize::from(places)).copied().unwrap_or(1);
                Some(mantissa as f64 / power as f64)
            }
            Self::Rounded(value) => Some(value),
            Self::Missing | Self::Not => None,
        }
    }

    /// In units of 10⁻¹⁸.
    #[must_use]
    pub(super) fn units(mantissa: i64, places: u8) -> i128 {
        let power = POWERS.get(usize::try_from(PLACES).unwrap_or(0).saturating_sub(usize::from(places)));
        i128::from(mantissa) * i128::from(power.copied().unwrap_or(1))
    }
}

/// Which of two numbers comes first; `None` if one is none.
///
/// A total order of everything that is a number: by value, and where a rounded number and an exact one have the same
/// double, the exact one first. So the smallest of many does not depend on the order in which they are looked at.
#[must_use]
pub fn order(a: Number, b: Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Exact { mantissa: a, places: m }, Number::Exact { mantissa: b, places: n }) => {
            Some(if m == n { a.cmp(&b) } else { Number::units(a, m).cmp(&Number::units(b, n)) })
        }
        (a, b) => {
            let rounded = |number| u8::from(matches!(number, Number::Rounded(_)));
            let by_value = a.to_f64()?.partial_cmp(&b.to_f64()?)?;
            Some(by_value.then(rounded(a).cmp(&rounded(b))))
        }
    }
}

/// A cell of one to eight bytes, all of them digits but for one point: all bytes at once, for a loop that ends after four
/// bytes here and after six there is guessed wrong each time. (After D. Lemire, "Quickly parsing eight digits", 2018.)
///
/// Mantissa and places, and no [`Number`]: this way both stay in registers until they are stored.
#[inline]
#[must_use]
pub fn short(cell: &[u8]) -> Option<(i64, u8)> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let length = cell.len();
    let text = match (cell.first_chunk::<4>(), cell.last_chunk::<4>(), length) {
        // The two overlap, and agree where they do.
        (Some(first), Some(last), 4..=8) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u64::from(first) | u64::from(last) << (8 * (length - 4))
        }
        (_, _, 1..=3) => cell.iter().rev().fold(0, |text, byte| text << 8 | u64::from(*byte)),
        _ => return None,
    };
    // The last byte to the highest, and zeros before the first.
    let before = 8 * (8 - length) as u32;
    let text = text.checked_shl(before)? | (ZEROS & !u64::MAX.checked_shl(before)?);
    let unlike = text ^ 0x2e2e_2e2e_2e2e_2e2e;
    let point = unlike.wrapping_sub(0x0101_0101_0101_0101) & !unlike & 0x8080_8080_8080_8080;
    let (digits, places) = if point == 0 {
        (text, 0)
    } else {
        // What stands before the point moves up by one.
        let at = point.trailing_zeros() / 8 * 8;
        let below = (1_u64 << at) - 1;
        let after = text & !(below | 0xff << at);
        (after | (text & below) << 8 | 0x30, 7 - at / 8)
    };
    let wrong = digits.wrapping_add(0x4646_4646_4646_4646) | digits.wrapping_sub(ZEROS);
    if wrong & 0x8080_8080_8080_8080 != 0 || (length == 1 && point != 0) {
        return None;
    }
    let tens = (digits & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(2561) >> 8;
    let hundreds = (tens & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    let value = (hundreds & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32;
    Some((value.cast_signed(), places as u8))
}

/// A number's spelling, taken apart.
struct Parts {
    negative: bool,
    digits: String,
    /// How many of the digits stand before the point.
    point: usize,
    exponent: i64,
}

impl Parts {
    fn of(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent),
            None => (text, "0"),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let only_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let signless = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if !only_digits(whole) || !only_digits(fraction) || whole.len() + fraction.len() == 0 {
            return None;
        }
        if signless.is_empty() || !only_digits(signless) {
            return None;
        }
        // An exponent of a hundred digits is as good as the largest.
        let exponent =
            exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 });
        Some(Self { negative, digits: format!("{whole}{fraction}"), point: whole.len(), exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(mantissa: i64, places: u8) -> Number {
        Number::Exact { mantissa, places }
    }

    #[test]
    fn numbers_are_read_and_nothing_else_is() {
        let table: [(&str, Number); 32] = [
            ("0", exact(0, 0)),
            ("-0.0", exact(0, 1)),
            ("12.50", exact(1250, 2)),
            ("-12.5", exact(-125, 1)),
            ("+7", exact(7, 0)),
            (" 7\t", exact(7, 0)),
            (".5", exact(5, 1)),
            ("5.", exact(5, 0)),
            ("1e3", exact(1000, 0)),
            ("1.5E-3", exact(15, 4)),
            ("999999999999999999", exact(999_999_999_999_999_999, 0)),
            ("000000000000000000000012", exact(12, 0)),
            ("0.000000000000000001", exact(1, 18)),
            ("1.0000000000000000000", exact(1, 0)),
            ("1000000000000000000", Number::Rounded(1e18)),
            ("0.0000000000000000001", Number::Rounded(1e-19)),
            ("1e400", Number::Not),
            ("1e-400", Number::Rounded(0.0)),
            ("1e300", Number::Rounded(1e300)),
            ("1e-99999999999999999999", Number::Rounded(0.0)),
            ("0e99999999999999999999", exact(0, 0)),
            ("", Number::Missing),
            ("  ", Number::Missing),
            ("-", Number::Not),
            (".", Number::Not),
            ("1e", Number::Not),
            ("nan", Number::Not),
            ("inf", Number::Not),
            ("1,000", Number::Not),
            ("0x10", Number::Not),
            ("1.2.3", Number::Not),
            ("2024-01-05", Number::Not),
        ];
        for (cell, want) in table {
            assert_eq!(Number::parse(cell.as_bytes()), want, "{cell:?}");
        }
        assert_eq!(Number::parse(b"\xff1"), Number::Not);
    }

    #[test]
    fn short_cells_are_read_as_others_are() {
        let mut cell = [0; 8];
        // Every cell of up to eight of these, nearly: steps that meet all lengths and places.
        let alphabet = b"0179.-/: e";
        for n in (0..100_000_000_u64).step_by(97) {
            let length = (n % 9) as usize;
            let mut rest = n;
            for byte in &mut cell {
                *byte = alphabet[(rest % 10) as usize];
                rest /= 10;
            }
            let cell = &cell[..length];
            if let Some((mantissa, places)) = short(cell) {
                assert_eq!(
                    exact(mantissa, places),
                    Number::parse_any(cell),
                    "{:?}",
                    String::from_utf8_lossy(cell)
                );
            } else {
                let plain = cell.iter().all(|byte| byte.is_ascii_digit()) && (1..=8).contains(&length);
                assert!(!plain, "{:?}", String::from_utf8_lossy(cell));
            }
        }
    }

    #[test]
    fn order_is_by_value_however_it_is_written() {
        let sorted =
            ["-1e30", "-2", "-1.5", "0", "1e-30", "0.5", "0.50000000000000001", "1", "10", "1e18", "1e30"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                let got = order(Number::parse(a.as_bytes()), Number::parse(b.as_bytes()));
                assert_eq!(got, Some(i.cmp(&j)), "{a} {b}");
            }
        }
        assert_eq!(order(exact(150, 2), exact(15, 1)), Some(Ordering::Equal));
        assert_eq!(order(Number::Missing, exact(1, 0)), None);
    }
}
