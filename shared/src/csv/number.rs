//! Parses and compares numbers.
//!
//! A number consists of digits with at most one point, optionally with a sign, an exponent and spaces around it.
//! Not accepted are `inf`, `nan`, `1,000` and `$5`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::decimal::{self, Decimal};

/// Decimal places that are kept exactly.
pub(super) const PLACES: u32 = 18;

/// Significant digits that are kept exactly. A mantissa below 10¹⁸ is far within an `i64`.
const DIGITS: u32 = 18;

/// 10⁰ … 10¹⁸
const POWERS: [i64; 19] = [
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

/// A cell parsed as a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Number {
    /// An empty cell: no value, which is not an error.
    Missing,
    /// `mantissa / 10^places`, exact: at most 18 significant digits and 18 decimal places.
    Exact {
        /// All digits.
        mantissa: i64,
        /// Number of digits after the point.
        places: u8,
    },
    /// A longer, larger or smaller number, as the nearest double. Only the cell's text is exact.
    Long(f64),
    /// Not a number.
    Not,
}

impl Number {
    /// Parses a cell.
    #[must_use]
    #[inline]
    pub fn parse(cell: &[u8]) -> Self {
        match short(cell) {
            Some((mantissa, places)) => Self::Exact { mantissa, places },
            None => Self::parse_any(cell),
        }
    }

    /// Parses a cell of any length, more slowly.
    #[must_use]
    pub fn parse_any(cell: &[u8]) -> Self {
        let mut mantissa = 0_u64;
        let (mut digits, mut places) = (0_u32, 0_u32);
        let mut point = false;
        let (negative, rest) = match cell {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        // Nearly every cell is a few digits, perhaps with a point. Everything else takes the slow path.
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
        let Some(decimal) = Decimal::parse(text) else { return Self::Not };
        if let Some((mantissa, places)) = exactly(&decimal) {
            return Self::Exact { mantissa, places };
        }
        let nearest = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        nearest.map_or(Self::Not, Self::Long)
    }

    /// Returns the nearest double, or infinity above the largest.
    #[must_use]
    pub fn to_f64(self) -> Option<f64> {
        match self {
            Self::Exact { mantissa, places } => Some(quotient(mantissa, places)),
            Self::Long(nearest) => Some(nearest),
            Self::Missing | Self::Not => None,
        }
    }

    /// Returns the number in units of 10⁻¹⁸.
    #[must_use]
    pub(super) fn units(mantissa: i64, places: u8) -> i128 {
        let power = POWERS.get(usize::try_from(PLACES).unwrap_or(0).saturating_sub(usize::from(places)));
        i128::from(mantissa) * i128::from(power.copied().unwrap_or(1))
    }
}

/// Returns the double nearest to `mantissa / 10^places`.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "the nearest is what is asked for")]
fn quotient(mantissa: i64, places: u8) -> f64 {
    /// Integers up to this one are exact doubles, and so are powers of ten up to 10²².
    const DOUBLES_MAX: u64 = 1 << 53;
    /// Shifts the quotient so that it has more bits before the point than a double keeps.
    const SHIFT: u32 = 66;
    let power = POWERS.get(usize::from(places)).copied().unwrap_or(1);
    if mantissa.unsigned_abs() <= DOUBLES_MAX || places == 0 {
        return mantissa as f64 / power as f64;
    }
    // Dividing the nearest double of the mantissa would round twice.
    let (dividend, divisor) =
        (u128::from(mantissa.unsigned_abs()) << SHIFT, u128::from(power.unsigned_abs()));
    let has_rest = !dividend.is_multiple_of(divisor);
    let nearest = ((dividend / divisor) | u128::from(has_rest)) as f64 / (1_u128 << SHIFT) as f64;
    if mantissa < 0 { -nearest } else { nearest }
}

/// Returns mantissa and places of a number that fits into [`Number::Exact`].
fn exactly(decimal: &Decimal<'_>) -> Option<(i64, u8)> {
    let Some(magnitude) = decimal.magnitude() else { return Some((0, 0)) };
    let digits = decimal.significant().take(DIGITS as usize + 1).count() as i64;
    // Negative if zeros stand between the last digit and the point.
    let places = digits.saturating_sub(magnitude);
    let zeros = places.min(0).unsigned_abs();
    if digits.unsigned_abs() + zeros > u64::from(DIGITS) || places > i64::from(PLACES) {
        return None;
    }
    let mantissa = decimal.significant().fold(0, |mantissa, digit| mantissa * 10 + i64::from(digit - b'0'));
    let mantissa = mantissa * POWERS.get(usize::try_from(zeros).ok()?)?;
    Some((if decimal.negative { -mantissa } else { mantissa }, u8::try_from(places.max(0)).ok()?))
}

/// A cell and its parsed value.
pub type Read<'a> = (Number, &'a [u8]);

/// Compares two numbers by their exact values. Returns `None` if one of the cells is not a number.
#[must_use]
pub fn order(one: Read<'_>, other: Read<'_>) -> Option<Ordering> {
    if let (Number::Exact { mantissa: a, places: m }, Number::Exact { mantissa: b, places: n }) =
        (one.0, other.0)
    {
        return Some(if m == n { a.cmp(&b) } else { Number::units(a, m).cmp(&Number::units(b, n)) });
    }
    // Rounding never reverses the order, but it can make different numbers equal. Then compare all digits.
    match one.0.to_f64()?.partial_cmp(&other.0.to_f64()?)? {
        Ordering::Equal => decimal::order(one.1.trim_ascii(), other.1.trim_ascii()),
        apart @ (Ordering::Less | Ordering::Greater) => Some(apart),
    }
}

/// Parses a cell of one to eight bytes, all of them digits except for one point. It handles all bytes at once: a
/// loop of varying length is mispredicted each time. (After D. Lemire, "Quickly parsing eight digits", 2018.)
///
/// Returns mantissa and places instead of a [`Number`], so that both stay in registers until they are stored.
#[inline]
#[must_use]
pub fn short(cell: &[u8]) -> Option<(i64, u8)> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let length = cell.len();
    let text = match (cell.first_chunk::<4>(), cell.last_chunk::<4>(), length) {
        // The two loads overlap, and agree where they do.
        (Some(first), Some(last), 4..=8) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u64::from(first) | u64::from(last) << (8 * (length - 4))
        }
        (_, _, 1..=3) => cell.iter().rev().fold(0, |text, byte| text << 8 | u64::from(*byte)),
        _ => return None,
    };
    // Moves the last byte to the highest position and fills the front with zeros.
    let before = 8 * (8 - length) as u32;
    let text = text.checked_shl(before)? | (ZEROS & !u64::MAX.checked_shl(before)?);
    let unlike = text ^ 0x2e2e_2e2e_2e2e_2e2e;
    let point = unlike.wrapping_sub(0x0101_0101_0101_0101) & !unlike & 0x8080_8080_8080_8080;
    let (digits, places) = if point == 0 {
        (text, 0)
    } else {
        // Moves the digits before the point up by one.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(mantissa: i64, places: u8) -> Number {
        Number::Exact { mantissa, places }
    }

    #[test]
    fn only_numbers_are_parsed() {
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
            ("1000000000000000000", Number::Long(1e18)),
            ("0.0000000000000000001", Number::Long(1e-19)),
            ("1e400", Number::Long(f64::INFINITY)),
            ("1e-400", Number::Long(0.0)),
            ("1e300", Number::Long(1e300)),
            ("1e-99999999999999999999", Number::Long(0.0)),
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
    fn short_cells_are_parsed_like_others() {
        let mut cell = [0; 8];
        // Nearly every cell of up to eight of these; the steps cover all lengths and places.
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
    fn order_is_by_value_whatever_the_notation() {
        let sorted = [
            "-1e400",
            "-1e30",
            "-1000000000000000001",
            "-1000000000000000000",
            "-2",
            "-1.5",
            "0",
            "1e-400",
            "1e-30",
            "0.1234567890123456788",
            "0.1234567890123456789",
            "0.5",
            "0.50000000000000001",
            "1",
            "10",
            "999999999999999999",
            "1e18",
            "1712345678901234567",
            "1712345678901234568",
            "99999999999999999999",
            "1e30",
            "1e400",
            "2e400",
        ];
        let read = |text: &'static str| (Number::parse(text.as_bytes()), text.as_bytes());
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(order(read(a), read(b)), Some(i.cmp(&j)), "{a} {b}");
            }
        }
        for (a, b) in
            [("1.50", "1.5"), (" 1e18 ", "1000000000000000000.0"), ("1e400", "10e399"), ("-0", "0e9")]
        {
            assert_eq!(order(read(a), read(b)), Some(Ordering::Equal), "{a} {b}");
        }
        assert_eq!(order(read(""), read("1")), None);
    }

    #[test]
    fn numbers_become_the_nearest_double() {
        for text in [
            "0.0915847874050735959",
            "0.91584787405073595",
            "-12345678901234567.8",
            "9007199254740993",
            "9007199254740993.1",
            "0.99999999999999999",
            "-0.000000000000000001",
            "999999999999999999",
            "0.30000000000000004441",
            "1e300",
        ] {
            assert_eq!(Number::parse(text.as_bytes()).to_f64(), text.parse().ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_number_becomes_the_nearest_double(mantissa in -999_999_999_999_999_999..=999_999_999_999_999_999_i64, places in 0..=18_u8) {
            let want: f64 = format!("{mantissa}e-{places}").parse().unwrap();
            prop_assert_eq!(exact(mantissa, places).to_f64(), Some(want));
        }

        #[test]
        fn spelling_does_not_matter(mantissa in any::<i64>(), exponent in -25..25_i32) {
            let plain = format!("{mantissa}e{exponent}");
            let shifted = format!("{mantissa}000e{}", exponent - 3);
            let (plain, shifted) = (plain.as_bytes(), shifted.as_bytes());
            let read = |text| (Number::parse(text), text);
            prop_assert_eq!(order(read(plain), read(shifted)), Some(Ordering::Equal));
        }
    }
}
