//! Sums that do not depend on the order of what is summed: how a file was cut, and which worker
//! was faster, must not show in the last digit.
//!
//! Numbers of at most 18 digits and 18 decimal places go into a fixed-point integer of 192 bits in
//! units of 10⁻¹⁸, which 2⁶⁴ of them cannot fill. The others, already rounded to a double, go into
//! a non-overlapping expansion of doubles, which is exact too: J. R. Shewchuk, "Adaptive Precision
//! Floating-Point Arithmetic and Fast Robust Geometric Predicates", 1997.

use serde::{Deserialize, Serialize};

use super::number::{Number, POWERS};

/// 10¹⁸: units in one.
const ONE: u64 = POWERS[18].unsigned_abs();

/// A sum, and of how many numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    /// How many numbers there were.
    pub count: u64,
    low: u128,
    high: i64,
    /// What did not fit: an expansion, smallest first; nearly always empty.
    expansion: Vec<f64>,
}

impl Sum {
    /// Adds a number; what is none changes nothing.
    #[inline]
    pub fn add(&mut self, number: Number) {
        match number {
            Number::Exact { mantissa, places } => {
                self.count += 1;
                self.add_units(Number::units(mantissa, places));
            }
            Number::Rounded(value) => {
                self.count += 1;
                self.grow(value);
            }
            Number::Missing | Number::Not => {}
        }
    }

    /// Adds all that another sum has.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        let (low, carry) = self.low.overflowing_add(other.low);
        self.low = low;
        self.high = self.high.wrapping_add(other.high).wrapping_add(i64::from(carry));
        for value in &other.expansion {
            self.grow(*value);
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
    fn grow(&mut self, value: f64) {
        let mut rest = value;
        let mut kept = Vec::with_capacity(self.expansion.len() + 1);
        for &part in &self.expansion {
            let (large, small) = if rest.abs() < part.abs() { (part, rest) } else { (rest, part) };
            let total = large + small;
            let lost = small - (total - large);
            if lost != 0.0 {
                kept.push(lost);
            }
            rest = total;
        }
        kept.push(rest);
        self.expansion = kept;
    }

    /// The sum, exactly as a decimal where every number was exact, else as the nearest double to it; `None` of nothing.
    #[must_use]
    pub fn total(&self) -> Option<Total> {
        if self.count == 0 {
            None
        } else if self.expansion.is_empty() {
            Some(Total::Exact(self.decimal()))
        } else {
            Some(Total::Rounded(self.to_f64()))
        }
    }

    /// The sum over the count; `None` of nothing.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2⁵³ rows")]
    pub fn mean(&self) -> Option<f64> {
        if self.count == 0 {
            None
        } else if self.expansion.is_empty() {
            // Dividing the nearest double would round twice: 0.3 / 3 is not 0.1.
            self.decimal_over(self.count).parse().ok()
        } else {
            Some(self.to_f64() / self.count as f64)
        }
    }

    fn to_f64(&self) -> f64 {
        // The standard library's reading of a decimal is the nearest double there is.
        let fixed = self.decimal().parse().unwrap_or(f64::NAN);
        let mut all = self.clone();
        all.grow(fixed);
        nearest(&all.expansion)
    }

    /// The fixed-point part, written out.
    fn decimal(&self) -> String {
        let (negative, limbs) = self.magnitude();
        let text = digits(negative, limbs);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// The fixed-point part over `count`, with so many digits that the nearest double is that to all of them.
    fn decimal_over(&self, count: u64) -> String {
        let (negative, mut limbs) = self.magnitude();
        let mut rest = divide(&mut limbs, count);
        let mut text = digits(negative, limbs);
        for _ in 0..2 {
            let here = u128::from(rest) * u128::from(ONE);
            text.push_str(&format!("{:018}", here / u128::from(count)));
            rest = (here % u128::from(count)) as u64;
        }
        if rest > 0 {
            text.push('1');
        }
        text
    }

    /// The fixed-point part: whether it is negative, and its units, lowest first.
    fn magnitude(&self) -> (bool, [u64; 3]) {
        let negative = self.high < 0;
        let (mut low, mut high) = (self.low, self.high);
        if negative {
            let (negated, carry) = (!low).overflowing_add(1);
            low = negated;
            high = (!high).wrapping_add(i64::from(carry));
        }
        (negative, [low as u64, (low >> 64) as u64, high.cast_unsigned()])
    }
}

/// Units as a decimal, with all 18 of its places.
fn digits(negative: bool, mut limbs: [u64; 3]) -> String {
    let mut groups = [0; 4];
    for group in &mut groups {
        *group = divide(&mut limbs, ONE);
    }
    let [fraction, whole @ ..] = groups;
    let mut text = String::new();
    if negative {
        text.push('-');
    }
    let mut begun = false;
    for group in whole.iter().rev() {
        if begun {
            text.push_str(&format!("{group:018}"));
        } else if *group > 0 {
            text.push_str(&group.to_string());
            begun = true;
        }
    }
    if !begun {
        text.push('0');
    }
    text.push_str(&format!(".{fraction:018}"));
    text
}

/// The double nearest to an expansion, however it came to be: from the largest part down, until something is lost.
fn nearest(expansion: &[f64]) -> f64 {
    let mut parts = expansion.iter().rev().copied();
    let mut total = parts.next().unwrap_or(0.0);
    while let Some(part) = parts.next() {
        let before = total;
        total = before + part;
        let lost = part - (total - before);
        if lost != 0.0 {
            // Exactly half way, and what is left says to which side.
            let beyond = parts.find(|part| *part != 0.0).unwrap_or(0.0);
            let further = total + lost * 2.0;
            if lost.signum() == beyond.signum() && beyond != 0.0 && lost * 2.0 == further - total {
                total = further;
            }
            break;
        }
    }
    total
}

/// Divides in place; what is left over.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a remainder is below its divisor, a quotient limb below 2⁶⁴"
)]
fn divide(limbs: &mut [u64; 3], by: u64) -> u64 {
    let mut rest = 0_u128;
    for limb in limbs.iter_mut().rev() {
        let here = (rest << 64) | u128::from(*limb);
        *limb = (here / u128::from(by)) as u64;
        rest = here % u128::from(by);
    }
    rest as u64
}

/// What a sum comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Total {
    /// All its digits.
    Exact(String),
    /// The nearest double.
    Rounded(f64),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(cells: &[&str]) -> Sum {
        let mut sum = Sum::default();
        for cell in cells {
            sum.add(Number::parse(cell.as_bytes()));
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
        check(&["1e30", "1", "-1e30"], "~1.0");
        check(&["1e300", "1e-300", "-1e300"], "~1e-300");
        check(&["0.5", "1e18"], "~1e18");
    }

    #[test]
    fn a_mean_is_of_the_numbers_there_are() {
        assert_eq!(sum(&["1", "", "2"]).mean(), Some(1.5));
        // Its sum, 0.3, has a double whose third is the one below 0.1.
        assert_eq!(sum(&["0.1"; 3]).mean(), Some(0.1));
        assert_eq!(sum(&["-0.000000000000000001", "0", "0"]).mean(), Some(-3.333_333_333_333_333_3e-19));
        assert_eq!(sum(&["1", "1", "0"]).mean(), Some(2.0 / 3.0));
        assert_eq!(sum(&["1e30", "1e30"]).mean(), Some(1e30));
        assert_eq!(sum(&[""]).mean(), None);
    }

    fn any_cell() -> impl Strategy<Value = String> {
        prop_oneof![
            (any::<i32>(), 0..6_u32).prop_map(|(n, e)| format!("{n}e-{e}")),
            any::<i64>().prop_map(|n| n.to_string()),
            (-1e20..1e20_f64).prop_map(|x| format!("{x:e}")),
        ]
    }

    proptest! {
        #[test]
        fn order_and_cuts_do_not_show(
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
