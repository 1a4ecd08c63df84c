//! Sums that do not depend on the order of the numbers. So the result is the same to the last digit, however a
//! file is divided and whichever worker is faster.
//!
//! Numbers with at most 18 digits and 18 decimal places are added in a fixed-point integer of 192 bits in units of
//! 10⁻¹⁸, which 2⁶⁴ of them cannot overflow. Others are added in one that grows ([`Wide`]). Nothing is rounded
//! until the sum is written.

use num_bigint::BigInt;
use serde::{Deserialize, Serialize};

use super::number::{Number, PLACES};
use super::wide::Wide;
use crate::decimal::Decimal;

/// Maximum decimal places of an exact sum. A sum with more is written as the nearest double; otherwise a column of
/// measurements with exponents would give sums of hundreds of digits.
const PLACES_MAX: usize = 38;

/// A sum and the count of its numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    /// Count of the numbers.
    pub count: u64,
    low: u128,
    high: i64,
    /// Sum of the numbers that did not fit. Nearly always absent.
    wide: Option<Box<Wide>>,
}

impl Sum {
    /// Adds the parsed value of `cell`. A cell that is not a number changes nothing.
    #[inline]
    pub fn add(&mut self, number: Number, cell: &[u8]) {
        match number {
            Number::Exact { mantissa, places } => {
                self.count += 1;
                self.add_units(Number::units(mantissa, places));
            }
            Number::Long(_) => self.add_long(cell),
            Number::Missing | Number::Not => {}
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        let (low, carry) = self.low.overflowing_add(other.low);
        self.low = low;
        self.high = self.high.wrapping_add(other.high).wrapping_add(i64::from(carry));
        if let Some(wide) = &other.wide {
            self.wide.get_or_insert_default().merge(wide);
        }
    }

    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "two's complement, in two parts")]
    fn add_units(&mut self, units: i128) {
        let (low, carry) = self.low.overflowing_add(units as u128);
        self.low = low;
        self.high = self.high.wrapping_add(i64::from(carry)).wrapping_add((units >> 127) as i64);
    }

    #[cold]
    fn add_long(&mut self, cell: &[u8]) {
        if let Some(decimal) = Decimal::parse(cell.trim_ascii()) {
            self.count += 1;
            self.wide.get_or_insert_default().add(&decimal);
        }
    }

    /// Returns the sum with all its digits, or as the nearest double if more than `PLACES_MAX` follow the point.
    /// `None` without numbers.
    #[must_use]
    pub fn total(&self) -> Option<Total> {
        if self.count == 0 {
            return None;
        }
        let all = self.exact();
        Some(all.decimal(PLACES_MAX).map_or_else(|| Total::Rounded(all.over(1)), Total::Exact))
    }

    /// Returns the sum over the count, as the nearest double. `None` without numbers.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        // Dividing the nearest double of the sum would round twice: 0.3 / 3 would not be 0.1.
        (self.count > 0).then(|| self.exact().over(self.count))
    }

    /// Returns the total of both parts.
    fn exact(&self) -> Wide {
        let units = (BigInt::from(self.high) << u128::BITS) + BigInt::from(self.low);
        let mut all = Wide::new(units, PLACES);
        if let Some(wide) = &self.wide {
            all.merge(wide);
        }
        all
    }
}

/// The value of a sum.
#[derive(Debug, Clone, PartialEq)]
pub enum Total {
    /// Exact, with all digits.
    Exact(String),
    /// The nearest double; infinite above the largest.
    Rounded(f64),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(cells: &[&str]) -> Sum {
        let mut sum = Sum::default();
        for cell in cells {
            sum.add(Number::parse(cell.as_bytes()), cell.as_bytes());
        }
        sum
    }

    fn check(cells: &[&str], want: &str) {
        let got = match sum(cells).total() {
            None => "none".to_owned(),
            Some(Total::Exact(text)) => text,
            Some(Total::Rounded(value)) => format!("~{value:?}"),
        };
        assert_eq!(got, want, "{cells:?}");
    }

    #[test]
    fn sums_are_exact() {
        check(&[], "none");
        check(&["", "x"], "none");
        check(&["0.1", "0.2"], "0.3");
        check(&["0.1", "-0.2", ""], "-0.1");
        check(&["1", "-1"], "0");
        check(&["-0.000000000000000001"], "-0.000000000000000001");
        check(&["1e17"; 2000], "200000000000000000000");
        check(&["999999999999999999"; 2000], "1999999999999999998000");
        check(&["-999999999999999999"; 2000], "-1999999999999999998000");
        check(&["1e30", "1", "-1e30"], "1");
        check(&["0.5", "1e18"], "1000000000000000000.5");
        check(&["999999999999999999", "-1000000000000000000"], "-1");
        check(&["1234567890123456789012345678901234567890"; 10], "12345678901234567890123456789012345678900");
        check(&["1e76", "1e76", "-1"], &format!("1{}", "9".repeat(76)));
        check(&["-12345678901234567890", "0.1"], "-12345678901234567889.9");
        check(&["0.0000000000000000001", "0.2"], "0.2000000000000000001");
        check(&["0.1234567890123456789", " 0.8765432109876543211 "], "1");
        check(&["1e-38", "-1"], &format!("-0.{}", "9".repeat(38)));
    }

    #[test]
    fn rounded_sums_are_rounded_once() {
        check(&["1e300", "1e-300", "-1e300"], "~1e-300");
        check(&["1e-39", "1"], "~1.0");
        // Half way between two doubles, so that a far smaller number decides.
        check(&["9007199254740993", "1e-50"], "~9007199254740994.0");
        check(&["9007199254740993", "-1e-50"], "~9007199254740992.0");
        check(&["5e-324"], "~5e-324");
        check(&["2.4e-324"], "~0.0");
        check(&["2.5e-324"], "~5e-324");
        check(&["1e-400", "1e-400"], "~0.0");
        check(&["1e-5000", "7"], "7");
        check(&["1e400", "1e-39"], "~inf");
        check(&["1e5000", "-1e5000"], "~inf");
    }

    #[test]
    fn one_cell_cannot_make_a_sum_slow() {
        let digits = "7".repeat(1 << 20);
        check(&[&digits], "~inf");
        check(&[&format!("0.{digits}")], "~0.7777777777777778");
        check(&[&format!("1e-{digits}"), "1"], "1");
    }

    #[test]
    fn a_mean_counts_only_numbers() {
        assert_eq!(sum(&["1", "", "2"]).mean(), Some(1.5));
        // The sum is 0.3, and a third of its double is the double below 0.1.
        assert_eq!(sum(&["0.1"; 3]).mean(), Some(0.1));
        assert_eq!(sum(&["-0.000000000000000001", "0", "0"]).mean(), Some(-3.333_333_333_333_333_3e-19));
        assert_eq!(sum(&["1", "1", "0"]).mean(), Some(2.0 / 3.0));
        assert_eq!(sum(&["1e30", "1e30"]).mean(), Some(1e30));
        assert_eq!(sum(&["4.9e-324", "0"]).mean(), Some(0.0));
        assert_eq!(sum(&["5e-324", "1e-323"]).mean(), Some(1e-323));
        assert_eq!(
            sum(&["9007199254740993", "9007199254740993.0000000000000000001"]).mean(),
            Some(9007199254740994.0)
        );
        assert_eq!(sum(&["9007199254740993"; 7]).mean(), Some(9007199254740992.0));
        assert_eq!(sum(&["1e5000"]).mean(), Some(f64::INFINITY));
        assert_eq!(sum(&[""]).mean(), None);
    }

    fn any_cell() -> impl Strategy<Value = String> {
        prop_oneof![
            (any::<i32>(), 0..6_u32).prop_map(|(n, e)| format!("{n}e-{e}")),
            any::<i64>().prop_map(|n| n.to_string()),
            (-1e20..1e20_f64).prop_map(|x| format!("{x:e}")),
            (-1e-20..1e-20_f64).prop_map(|x| format!("{x:e}")),
            any::<i128>().prop_map(|n| n.to_string()),
        ]
    }

    proptest! {
        #[test]
        fn whole_numbers_of_any_length_are_summed_exactly(numbers in proptest::collection::vec(any::<i64>(), 1..60), zeros in 0..40_u32) {
            let unit = format!("e{zeros}");
            let cells: Vec<String> = numbers.iter().map(|number| format!("{number}{unit}")).collect();
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let total: i128 = numbers.iter().copied().map(i128::from).sum();
            let want = if total == 0 { "0".to_owned() } else { format!("{total}{}", "0".repeat(zeros as usize)) };
            prop_assert_eq!(sum(&cells).total(), Some(Total::Exact(want)));
        }

        #[test]
        fn a_mean_of_one_number_is_the_nearest_double(number in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            prop_assert_eq!(sum(&[&format!("{number:e}")]).mean(), Some(number));
            // All digits of the point half way to the next double, and slightly more or less.
            let next = number.abs().next_up();
            if number.is_normal() && next.is_finite() {
                let texts = [format!("{:.1100}", number.abs()), format!("{next:.1100}")];
                let halves: Vec<&str> = texts.iter().map(String::as_str).collect();
                let want = if number.to_bits() & 1 == 0 { number.abs() } else { next };
                prop_assert_eq!(sum(&halves).mean(), Some(want));
                let more = [halves[0], halves[1], "1e-1090", "-1e-1090"];
                prop_assert_eq!(sum(&[more[0], more[1], more[2]]).exact().over(2), next);
                prop_assert_eq!(sum(&[more[0], more[1], more[3]]).exact().over(2), number.abs());
            }
        }

        #[test]
        fn order_and_division_do_not_matter(
            cells in proptest::collection::vec(any_cell(), 1..60),
            cut in 0..60_usize,
        ) {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let (left, right) = cells.split_at(cut.min(cells.len()));
            let mut merged = sum(right);
            merged.merge(&sum(left));
            let backwards: Vec<&str> = cells.iter().rev().copied().collect();
            let want = sum(&cells).total();
            prop_assert_eq!(&merged.total(), &want);
            prop_assert_eq!(&sum(&backwards).total(), &want);
        }
    }
}
