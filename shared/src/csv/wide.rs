//! An exact sum of numbers of any length.

use num_bigint::{BigInt, Sign};
use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;

/// Maximum digits before and after the point that are added. All doubles have fewer, and so does any number that a
/// person writes. Without a limit one cell could cost a worker unlimited time.
const DIGITS_MAX: i64 = 4096;

/// Bits of a double's mantissa.
const MANTISSA_BITS: u64 = 53;

/// Bits after the point of the smallest double.
const FRACTION_BITS_MAX: u64 = 1074;

/// `units / 10^places`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Wide {
    #[serde(with = "bytes")]
    units: BigInt,
    places: u32,
    /// A number was too large to add, so there is no sum.
    beyond: bool,
}

impl Wide {
    pub(super) fn new(units: BigInt, places: u32) -> Self {
        Self { units, places, beyond: false }
    }

    /// Adds a number.
    pub(super) fn add(&mut self, decimal: &Decimal<'_>) {
        let Some(magnitude) = decimal.magnitude() else { return };
        if magnitude > DIGITS_MAX {
            self.beyond = true;
            return;
        }
        // Cut off the digits after this many places.
        let room = usize::try_from(magnitude.saturating_add(DIGITS_MAX)).unwrap_or(0);
        let digits: Vec<u8> = decimal.significant().take(room).collect();
        let Some(units) = BigInt::parse_bytes(&digits, 10) else { return };
        let places = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_sub(magnitude);
        let units = if decimal.negative { -units } else { units };
        // A negative number of places means zeros before the point.
        let zeros = u32::try_from(places.min(0).unsigned_abs()).unwrap_or(0);
        let places = u32::try_from(places.max(0)).unwrap_or(0);
        self.merge(&Self::new(units * power(zeros), places));
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.places < other.places {
            self.units *= power(other.places - self.places);
            self.places = other.places;
        }
        if self.places == other.places {
            self.units += &other.units;
        } else {
            self.units += &other.units * power(self.places - other.places);
        }
        self.beyond |= other.beyond;
    }

    fn sign(&self) -> &'static str {
        if self.units.sign() == Sign::Minus { "-" } else { "" }
    }

    /// Returns all digits, if at most `places_max` follow the point.
    pub(super) fn decimal(&self, places_max: usize) -> Option<String> {
        let digits = format!("{:0>1$}", self.units.magnitude(), self.places as usize + 1);
        let (whole, fraction) = digits.split_at_checked(digits.len() - self.places as usize)?;
        let fraction = fraction.trim_end_matches('0');
        if self.beyond || fraction.len() > places_max {
            return None;
        }
        let sign = self.sign();
        let point = if fraction.is_empty() { "" } else { "." };
        Some(format!("{sign}{whole}{point}{fraction}"))
    }

    /// Returns the double nearest to the sum over `count`, rounded once. Infinite if there is no sum or no such
    /// double.
    pub(super) fn over(&self, count: u64) -> f64 {
        if self.beyond {
            return f64::INFINITY;
        }
        let divisor = power(self.places) * count;
        // With this many decimal places, every point half way between two doubles of this size can be written
        // exactly. The digits cut off then only decide whether the quotient is on such a point or above it.
        let below_one = (divisor.bits() + 1).saturating_sub(self.units.bits());
        let places = (MANTISSA_BITS + 2 + below_one).min(FRACTION_BITS_MAX + 2);
        let dividend =
            BigInt::from(self.units.magnitude().clone()) * power(u32::try_from(places).unwrap_or(0));
        let quotient = &dividend / &divisor;
        let sticky = if &quotient * &divisor == dividend { '0' } else { '1' };
        let sign = self.sign();
        // The standard library parses any decimal to the nearest double.
        format!("{sign}{quotient}{sticky}e-{}", places + 1).parse().unwrap_or(f64::NAN)
    }
}

fn power(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// Serializes it as bytes, which `bincode` sends as one block.
mod bytes {
    use num_bigint::BigInt;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &BigInt, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&number.to_signed_bytes_le())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BigInt, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        Ok(BigInt::from_signed_bytes_le(&bytes))
    }
}
