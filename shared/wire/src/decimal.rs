//! Decimal numbers as they are written, compared by value without rounding.
//!
//! Used for the cells of CSV files and the numbers of JSON. Only the order is computed: a number of twenty or four
//! hundred digits is never converted to a double.

use std::cmp::Ordering;

/// Exponents above this are treated as this one. No number has enough digits for the difference to matter.
const EXPONENT_MAX: i64 = i64::MAX / 4;

/// The parts of a number as written: a sign, digits with at most one point, and an exponent.
#[derive(Debug, Clone, Copy)]
pub struct Decimal<'a> {
    /// Whether there is a minus sign, also in front of zero.
    pub negative: bool,
    /// Digits before the point.
    pub whole: &'a [u8],
    /// Digits after the point.
    pub fraction: &'a [u8],
    /// Power of ten.
    pub exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Parses a number. Digits may be missing on one side of the point (`.5`, `5.`), and a plus sign may precede
    /// them.
    #[inline]
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (whole, rest) = digits(text);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            rest => (&[][..], rest),
        };
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        let has_digits = !whole.is_empty() || !fraction.is_empty();
        has_digits.then_some(Self { negative, whole, fraction, exponent })
    }

    /// Returns the digits from the first to the last that is not zero, as ASCII.
    #[inline]
    pub fn significant(&self) -> impl Iterator<Item = u8> + use<'a> {
        let fraction = without_zeros(self.fraction);
        let whole = if fraction.is_empty() { without_zeros(self.whole) } else { self.whole };
        whole.iter().chain(fraction).copied().skip_while(|digit| *digit == b'0')
    }

    /// Returns the number of digits before the point when the number is written without an exponent: 1 for `7`, 0
    /// for `0.7`, -1 for `0.07`. `None` for zero.
    #[inline]
    #[must_use]
    pub fn magnitude(&self) -> Option<i64> {
        let zeros = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
        let length = |digits: usize| i64::try_from(digits).unwrap_or(EXPONENT_MAX);
        let before = zeros(self.whole);
        if before < self.whole.len() {
            return Some(self.exponent.saturating_add(length(self.whole.len() - before)));
        }
        let after = zeros(self.fraction);
        (after < self.fraction.len()).then(|| self.exponent.saturating_sub(length(after)))
    }

    /// Compares two numbers.
    #[inline]
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        // Sign and magnitude.
        let side = |number: &Self| number.magnitude().map(|magnitude| (number.negative, magnitude));
        match (side(self), side(other)) {
            (None, None) => Ordering::Equal,
            (None, Some((negative, _))) => {
                if negative {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Some((negative, _)), None) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (Some((true, _)), Some((false, _))) => Ordering::Less,
            (Some((false, _)), Some((true, _))) => Ordering::Greater,
            (Some((negative, one)), Some((_, two))) => {
                // Without trailing zeros, the digits of numbers of equal magnitude compare like texts.
                let ordering = one.cmp(&two).then_with(|| self.significant().cmp(other.significant()));
                if negative { ordering.reverse() } else { ordering }
            }
        }
    }
}

/// Compares two numbers as written. Returns `None` if one is not a number.
#[inline]
#[must_use]
pub fn order(one: &[u8], other: &[u8]) -> Option<Ordering> {
    Some(Decimal::parse(one)?.order(&Decimal::parse(other)?))
}

/// Splits off the digits at the start of a text.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at(count)
}

fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (digits, rest) = digits(text);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    let value = digits.iter().fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(EXPONENT_MAX)
    });
    Some(if negative { -value } else { value })
}

/// Removes trailing zeros.
fn without_zeros(mut digits: &[u8]) -> &[u8] {
    while let [rest @ .., b'0'] = digits {
        digits = rest;
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_numbers_are_parsed() {
        for text in
            ["0", "-0", "+7", ".5", "5.", "1e3", "1.5E-3", "-1.25e+7", "00012", "1e99999999999999999999"]
        {
            assert!(Decimal::parse(text.as_bytes()).is_some(), "{text}");
        }
        for text in
            ["", "-", ".", "e5", "1e", "1e+", "1.2.3", "1 ", " 1", "inf", "0x1", "1_0", "--1", "1e5.0"]
        {
            assert!(Decimal::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn order_is_by_value_whatever_the_length() {
        let sorted = [
            "-1e401",
            "-1e400",
            "-12345678901234567891",
            "-12345678901234567890",
            "-1",
            "-0.9999999999999999999999",
            "-1e-400",
            "0",
            "1e-401",
            "1e-400",
            "0.1234567890123456788",
            "0.1234567890123456789",
            "0.12345678901234567890001",
            "1",
            "1712345678901234567",
            "1712345678901234568",
            "99999999999999999999",
            "100000000000000000000",
            "1e400",
            "1.0000000000000000000000001e400",
            "1e401",
        ];
        for (i, one) in sorted.iter().enumerate() {
            for (j, other) in sorted.iter().enumerate() {
                assert_eq!(order(one.as_bytes(), other.as_bytes()), Some(i.cmp(&j)), "{one} {other}");
            }
        }
        for equal in ["100", "1e2", "+100.0", "0100", "10E1", "0.1e3", "1000e-1"] {
            assert_eq!(order(b"100", equal.as_bytes()), Some(Ordering::Equal), "{equal}");
        }
        assert_eq!(order(b"-0.0", b"0e5"), Some(Ordering::Equal));
        assert_eq!(order(b"1", b"x"), None);
    }

    proptest! {
        #[test]
        fn order_is_that_of_whole_numbers(one in any::<i128>(), other in any::<i128>(), zeros in 0..3_usize) {
            let spelled = |number: i128| format!("{number}.{}", "0".repeat(zeros));
            prop_assert_eq!(order(spelled(one).as_bytes(), other.to_string().as_bytes()), Some(one.cmp(&other)));
        }

        #[test]
        fn order_is_that_of_doubles(one in -1e300..1e300_f64, other in -1e-300..1e-300_f64) {
            for (one, other) in [(one, other), (one, -one), (one, one.next_up())] {
                let (a, b) = (format!("{one:e}"), format!("{other}"));
                prop_assert_eq!(order(a.as_bytes(), b.as_bytes()), one.partial_cmp(&other), "{} {}", a, b);
            }
        }
    }
}
