//! What cannot be kept exactly in little memory: how many different values, and quantiles.
//! Apache DataSketches does the work; here is how it travels and with which parameters.

use std::fmt;

use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::tdigest::TDigestMut;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 2¹⁴ registers: a standard error of 1.04 / √2¹⁴ = 0.81 %, in 16 KiB for a group of more than about 1,500
/// values; smaller ones are kept as a set, and their number is all but exact.
const LG_REGISTERS: u8 = 14;

/// Compression of the t-digest: at most some 400 centroids, 6 KiB a group.
const COMPRESSION: u16 = 200;

/// Counts different values, nearly: HyperLogLog.
#[derive(Clone, Default)]
pub struct Distinct(Option<Box<HllUnion>>);

impl Distinct {
    /// Takes a value in.
    pub fn add(&mut self, value: &[u8]) {
        if let Some(union) = self.union() {
            union.update_value(value);
        }
    }

    /// Takes in all that another has seen.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(theirs), Some(ours)) = (&other.0, other.0.as_ref().and_then(|_| self.union())) {
            ours.update(&theirs.to_sketch(HllType::Hll8));
        }
    }

    /// How many there were.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded")]
    pub fn estimate(&self) -> u64 {
        // Not the estimate that is better for a sketch that was never merged: cuts would show.
        self.0.as_ref().map_or(0, |union| union.composite_estimate().round() as u64)
    }

    fn union(&mut self) -> Option<&mut HllUnion> {
        if self.0.is_none() {
            // Refused for a parameter out of range only, which this is not.
            self.0 = HllUnion::new(LG_REGISTERS).ok().map(Box::new);
        }
        self.0.as_deref_mut()
    }
}

/// Estimates quantiles: a merging t-digest.
#[derive(Clone, Default)]
pub struct Quantiles(Option<Box<TDigestMut>>);

impl Quantiles {
    /// Takes a value in.
    pub fn add(&mut self, value: f64) {
        if let Some(digest) = self.digest() {
            digest.update(value);
        }
    }

    /// Takes in the values of the part that comes next.
    pub fn merge(&mut self, next: &Self) {
        if let (Some(theirs), Some(ours)) = (&next.0, next.0.as_ref().and_then(|_| self.digest())) {
            ours.merge(theirs);
        }
    }

    /// The value below which a share `rank` of all values lies; `None` of nothing.
    #[must_use]
    pub fn quantile(&self, rank: f64) -> Option<f64> {
        self.0.clone()?.quantile(rank).ok().flatten()
    }

    fn digest(&mut self) -> Option<&mut TDigestMut> {
        if self.0.is_none() {
            self.0 = TDigestMut::new(COMPRESSION).ok().map(Box::new);
        }
        self.0.as_deref_mut()
    }
}

impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.as_ref().map(|union| union.to_sketch(HllType::Hll8).serialize());
        serializer.serialize_bytes(&bytes.unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        let mut distinct = Self::default();
        if !bytes.is_empty() {
            let sketch = HllSketch::deserialize(&bytes).map_err(de::Error::custom)?;
            if let Some(union) = distinct.union() {
                union.update(&sketch);
            }
        }
        Ok(distinct)
    }
}

impl Serialize for Quantiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.clone().map(|mut digest| digest.serialize());
        serializer.serialize_bytes(&bytes.unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Quantiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        TDigestMut::deserialize(&bytes).map(|digest| Self(Some(Box::new(digest)))).map_err(de::Error::custom)
    }
}

impl fmt::Debug for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distinct({})", self.estimate())
    }
}

impl fmt::Debug for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quantiles({})", self.0.as_ref().map_or(0, |digest| digest.total_weight()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Through the wire and back, as parts travel.
    fn sent<T: Serialize + de::DeserializeOwned>(part: &T) -> T {
        let config = bincode::config::standard();
        let bytes = bincode::serde::encode_to_vec(part, config).unwrap();
        bincode::serde::decode_from_slice(&bytes, config).unwrap().0
    }

    fn distinct(from: u64, to: u64, parts: u64) -> u64 {
        let mut merged = Distinct::default();
        for part in 0..parts {
            let mut distinct = Distinct::default();
            for value in (from..to).filter(|value| value % parts == part) {
                distinct.add(format!("value {value}").as_bytes());
                distinct.add(format!("value {from}").as_bytes());
            }
            merged.merge(&sent(&distinct));
        }
        merged.estimate()
    }

    /// The promise of docs/CSV.md: a standard error of 0.81 %. Over 40 sets, the root mean square must be near it, and none
    /// further off than four times as much.
    #[test]
    fn different_values_are_counted_within_the_stated_error() {
        assert_eq!(Distinct::default().estimate(), 0);
        for few in [1, 2, 100, 1_000] {
            assert_eq!(distinct(0, few, 4), few);
        }
        let mut squares = 0.0;
        for set in 0..40_u64 {
            let size = 5_000 + 700 * set;
            let got = distinct(set << 32, (set << 32) + size, 8);
            let off = got as f64 / size as f64 - 1.0;
            assert!(off.abs() < 4.0 * 0.0081, "{got} for {size}");
            squares += off * off;
        }
        let error = (squares / 40.0).sqrt();
        assert!(error < 1.25 * 0.0081, "root mean square {error}");
    }

    #[test]
    fn parts_and_the_whole_count_alike() {
        assert_eq!(distinct(0, 20_000, 1), distinct(0, 20_000, 16));
    }

    /// The promise of docs/CSV.md: the true rank of what comes out is within 1 % of the one asked for.
    #[test]
    fn quantiles_are_within_the_stated_rank_error() {
        let mut rng = 7_u64;
        let mut random = move || {
            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (rng >> 11) as f64 / (1_u64 << 53) as f64
        };
        type Shape<'a> = (&'a str, &'a dyn Fn(f64, usize) -> f64);
        let shapes: [Shape<'_>; 5] = [
            ("uniform", &|x, _| x),
            ("a long tail", &|x, _| (1.0 - x).powf(-2.0)),
            ("sorted", &|_, i| i as f64),
            ("sorted down", &|_, i| -(i as f64)),
            ("two heaps", &|x, i| if i % 2 == 0 { x } else { 1e6 + x }),
        ];
        for (name, shape) in shapes {
            for count in [10_usize, 1_000, 50_000] {
                let mut values = Vec::new();
                let mut merged = Quantiles::default();
                for part in 0..16 {
                    let mut digest = Quantiles::default();
                    for i in (part * count / 16)..((part + 1) * count / 16) {
                        let value = shape(random(), i);
                        values.push(value);
                        digest.add(value);
                    }
                    merged.merge(&sent(&digest));
                }
                values.sort_by(f64::total_cmp);
                for rank in [0.0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0] {
                    let got = merged.quantile(rank).unwrap();
                    let below = values.iter().filter(|value| **value < got).count() as f64 / count as f64;
                    let upto = values.iter().filter(|value| **value <= got).count() as f64 / count as f64;
                    // Between two of few values any rank from the one to the other is right.
                    let step = 1.0 / count as f64 + 0.01;
                    assert!(
                        below - step <= rank && rank <= upto + step,
                        "{name} {count} {rank}: {below}..{upto}"
                    );
                }
            }
        }
        assert_eq!(Quantiles::default().quantile(0.5), None);
    }
}
