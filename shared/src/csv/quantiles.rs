//! Quantiles of any number of values in little memory: the sketch of Z. Karnin, K. Lang and E. Liberty, "Optimal
//! Quantile Approximation in Streams", 2016.
//!
//! Its error is an error of the rank, whatever the values are and however often each occurs. A t-digest
//! interpolates between means, and is wrong by several hundredths if values repeat. The sketch of Apache
//! DataSketches draws random bits from the thread; here the same file must give the same bytes in every run.

use serde::{Deserialize, Serialize};

/// Items per level, from the highest level down. Their sum determines the memory. The first determines the error:
/// a standard deviation of the rank of about 0.0015, so 0.01 is more than six of them.
const ITEMS: [usize; 9] = [512, 341, 228, 152, 101, 67, 45, 30, 20];

/// Items per level below those.
const ITEMS_MIN: usize = 16;

/// Estimates quantiles.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Quantiles(Option<Box<Sketch>>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sketch {
    count: u64,
    least: f64,
    greatest: f64,
    /// An item on level n stands for 2ⁿ values.
    levels: Vec<Vec<f64>>,
    coins: Coins,
}

/// Decides which half of a level's items stays. The first choice of a level is random and the second is the
/// opposite, and so on. So the second error cancels a part of the first.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Coins {
    drawn: u64,
    /// One bit per level: the last choice.
    last: u64,
    /// One bit per level: whether the next choice is the opposite.
    owed: u64,
}

impl Quantiles {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.0.get_or_insert_with(|| Box::new(Sketch::new())).add(value);
    }

    /// Merges the values of the next part.
    pub fn merge(&mut self, next: Self) {
        match (&mut self.0, next.0) {
            (Some(ours), Some(next)) => ours.merge(*next),
            (ours @ None, next) => *ours = next,
            (Some(_), None) => {}
        }
    }

    /// Returns the value below which a share `rank` of all values lies, or `None` without values.
    #[must_use]
    pub fn quantile(&self, rank: f64) -> Option<f64> {
        self.0.as_ref()?.quantile(rank)
    }
}

impl Sketch {
    const fn new() -> Self {
        let coins = Coins { drawn: 0, last: 0, owed: 0 };
        Self { count: 0, least: f64::INFINITY, greatest: f64::NEG_INFINITY, levels: Vec::new(), coins }
    }

    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        let room = self.room(0);
        match self.levels.first_mut() {
            Some(items) => {
                items.push(value);
                if items.len() >= room {
                    self.compress();
                }
            }
            None => self.levels.push(vec![value]),
        }
    }

    fn merge(&mut self, next: Self) {
        self.count += next.count;
        self.least = self.least.min(next.least);
        self.greatest = self.greatest.max(next.greatest);
        self.coins.drawn = self.coins.drawn.wrapping_add(next.coins.drawn);
        if self.levels.len() < next.levels.len() {
            self.levels.resize_with(next.levels.len(), Vec::new);
        }
        for (items, next) in self.levels.iter_mut().zip(next.levels) {
            items.extend(next);
        }
        self.compress();
    }

    /// Returns how many items a level may hold.
    fn room(&self, level: usize) -> usize {
        let below_highest = self.levels.len().saturating_sub(level + 1);
        ITEMS.get(below_highest).copied().unwrap_or(ITEMS_MIN)
    }

    /// Halves every full level. The remaining items move up.
    fn compress(&mut self) {
        let mut level = 0;
        while level < self.levels.len() {
            if self.levels.get(level).is_some_and(|items| items.len() >= self.room(level)) {
                self.halve(level);
            }
            level += 1;
        }
    }

    fn halve(&mut self, level: usize) {
        if self.levels.len() == level + 1 {
            self.levels.push(Vec::new());
        }
        let coin = self.coins.toss(level);
        let [items, above] = match self.levels.get_mut(level..level + 2) {
            Some([items, above]) => [items, above],
            Some(_) | None => return,
        };
        items.sort_unstable_by(f64::total_cmp);
        // With an odd number of items one stays on its level, so that the weights add up.
        let odd = if items.len().is_multiple_of(2) { None } else { items.pop() };
        above.extend(items.iter().skip(usize::from(coin)).step_by(2));
        items.clear();
        items.extend(odd);
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a count, times at most one"
    )]
    fn quantile(&self, rank: f64) -> Option<f64> {
        // This many values are below; the next one is the result.
        let wanted = ((rank * self.count as f64) as u64 + 1).min(self.count);
        if wanted == self.count {
            return Some(self.greatest);
        }
        if rank <= 0.0 {
            return Some(self.least);
        }
        let weighted = |(level, items): (usize, &Vec<f64>)| {
            items.iter().map(move |item| (*item, 1_u64 << level)).collect::<Vec<_>>()
        };
        let mut items: Vec<(f64, u64)> = self.levels.iter().enumerate().flat_map(weighted).collect();
        items.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut before = 0;
        items.into_iter().find_map(|(item, weight)| {
            before += weight;
            (before >= wanted).then_some(item)
        })
    }
}

impl Coins {
    fn toss(&mut self, level: usize) -> bool {
        let bit = 1_u64.wrapping_shl(u32::try_from(level).unwrap_or(0));
        let side = if self.owed & bit == 0 { self.draw() } else { self.last & bit == 0 };
        self.last = if side { self.last | bit } else { self.last & !bit };
        self.owed ^= bit;
        side
    }

    /// Returns the next bit of SplitMix64 (G. Steele, D. Lea and C. Flood, 2014) with a fixed seed.
    fn draw(&mut self) -> bool {
        self.drawn = self.drawn.wrapping_add(1);
        let mut bits = self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds the values in parts, each serialized like a real part.
    fn merged(values: &[f64], parts: usize) -> Quantiles {
        let config = bincode::config::standard();
        let mut merged = Quantiles::default();
        for part in values.chunks(values.len().div_ceil(parts).max(1)) {
            let mut sketch = Quantiles::default();
            part.iter().for_each(|value| sketch.add(*value));
            let bytes = bincode::serde::encode_to_vec(&sketch, config).unwrap();
            assert!(bytes.len() < 16 * 1024, "{} bytes", bytes.len());
            merged.merge(bincode::serde::decode_from_slice(&bytes, config).unwrap().0);
        }
        merged
    }

    /// Returns the largest difference between the requested ranks and those of the results.
    fn error(values: &[f64], parts: usize) -> f64 {
        let merged = merged(values, parts);
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = values.len() as f64;
        let off = |rank: f64| {
            let got = merged.quantile(rank).unwrap();
            let below = sorted.partition_point(|value| *value < got) as f64 / count;
            let upto = sorted.partition_point(|value| *value <= got) as f64 / count;
            (below - rank).max(rank - upto)
        };
        (0..=50).map(|n| off(f64::from(n) / 50.0)).fold(0.0, f64::max)
    }

    /// docs/CSV.md promises that the rank is within 0.01.
    #[test]
    fn ranks_are_within_the_stated_error_whatever_the_values() {
        let mut rng = 7_u64;
        let mut random = move || {
            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (rng >> 11) as f64 / (1_u64 << 53) as f64
        };
        type Shape<'a> = (&'a str, &'a dyn Fn(f64, usize) -> f64);
        let shapes: [Shape<'_>; 10] = [
            ("uniform", &|x, _| x),
            ("a long tail", &|x, _| (1.0 - x).powf(-2.0)),
            ("sorted", &|_, i| i as f64),
            ("sorted down", &|_, i| -(i as f64)),
            ("two heaps", &|x, i| if i % 2 == 0 { x } else { 1e6 + x }),
            ("few values", &|x, _| (x * 7.0).floor()),
            ("small counts", &|x, _| (-(1.0 - x).ln() * 3.0).floor()),
            ("mostly zero", &|x, _| if x < 0.9 { 0.0 } else { x }),
            ("sawtooth", &|_, i| (i % 100) as f64),
            ("sorted, each ten times", &|_, i| (i / 10) as f64),
        ];
        let (mut squares, mut cases) = (0.0, 0.0);
        for (name, shape) in shapes {
            for (count, parts) in [(10, 4), (511, 1), (1_000, 16), (20_000, 1), (20_000, 128), (300_000, 8)] {
                let values: Vec<f64> = (0..count).map(|i| shape(random(), i)).collect();
                let off = error(&values, parts);
                assert!(off <= 0.01, "{name}, {count} in {parts}: {off}");
                (squares, cases) = (squares + off * off, cases + 1.0);
            }
        }
        let error = f64::sqrt(squares / cases);
        assert!(error < 0.004, "the worst of 51 ranks is off by {error} on average");
    }

    #[test]
    fn quantiles_of_few_values_are_exact() {
        assert_eq!(Quantiles::default().quantile(0.5), None);
        let of = |values: &[f64], rank| merged(values, 1).quantile(rank);
        assert_eq!(of(&[7.0], 0.5), Some(7.0));
        for (rank, want) in [(0.0, 1.0), (0.19, 1.0), (0.2, 2.0), (0.5, 3.0), (0.9, 5.0), (1.0, 5.0)] {
            assert_eq!(of(&[5.0, 1.0, 4.0, 2.0, 3.0], rank), Some(want), "{rank}");
        }
        let many: Vec<f64> = (0..100_000).map(f64::from).collect();
        assert_eq!((of(&many, 0.0), of(&many, 1.0)), (Some(0.0), Some(99_999.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn ties_in_any_order_do_not_hurt(
            picks in proptest::collection::vec((0..40_u32, 1..400_usize), 1..200),
            parts in 1..20_usize,
        ) {
            let values: Vec<f64> =
                picks.iter().flat_map(|(value, times)| std::iter::repeat_n(f64::from(*value), *times)).collect();
            let off = error(&values, parts);
            prop_assert!(off <= 0.01, "{off}");
        }
    }
}
