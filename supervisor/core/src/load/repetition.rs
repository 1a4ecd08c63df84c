//! Notices that a host answers different URLs with one and the same page: a login, a captcha, an error with status 200.
//!
//! Counts bodies by their hash in bounded memory (Misra and Gries, 1982): any hash with a share above 1/25 of the
//! recent pages is among the 24 that are counted. Counts are halved every 256 pages, so that a host which turns bad
//! after a million good pages is noticed as quickly as a new one.

/// Share of a host's recent pages that one body may have, and the least number of them that raises the alarm. Below
/// that, an empty page or a "not found" with status 200 would do.
const SHARE_MAX: f64 = 0.05;
const COUNT_MIN: u32 = 12;

/// Hashes that are counted at once.
const COUNTED: usize = 24;

/// Pages after which all counts are halved.
const HALVED_AFTER: u32 = 256;

/// The bodies of one host. Empty, it needs no memory of its own.
#[derive(Debug, Clone, Default)]
pub struct Repetition {
    pages: u32,
    counts: Vec<(u64, u32)>,
}

impl Repetition {
    /// Records the body of one more URL. Returns whether too many recent pages have that same body.
    pub fn is_repeated(&mut self, body_hash: u64) -> bool {
        if self.pages >= HALVED_AFTER {
            self.pages /= 2;
            self.counts.iter_mut().for_each(|(_, count)| *count /= 2);
            self.counts.retain(|(_, count)| *count > 0);
        }
        self.pages += 1;
        let count = if let Some((_, count)) = self.counts.iter_mut().find(|(hash, _)| *hash == body_hash) {
            *count += 1;
            *count
        } else if self.counts.len() < COUNTED {
            self.counts.push((body_hash, 1));
            1
        } else {
            self.counts.iter_mut().for_each(|(_, count)| *count -= 1);
            self.counts.retain(|(_, count)| *count > 0);
            0
        };
        count >= COUNT_MIN && f64::from(count) > SHARE_MAX * f64::from(self.pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_for_all_urls_is_noticed_soon() {
        for good in [0, 300, 100_000] {
            let mut repetition = Repetition::default();
            assert!((1..=good).all(|hash| !repetition.is_repeated(hash)), "different pages are fine");
            let needed = (1..=20).find(|_| repetition.is_repeated(u64::MAX));
            assert!(needed.is_some(), "after {good} good pages");
            assert!(repetition.counts.len() <= COUNTED);
        }
    }

    #[test]
    fn a_page_now_and_then_is_no_alarm() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut repetition = Repetition::default();
            for hash in 1..5_000 {
                // One URL in forty is an empty page.
                let hash = if rng.u32(0..40) == 0 { 0 } else { hash };
                assert!(!repetition.is_repeated(hash), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_share_of_a_tenth_is_always_found() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut repetition = Repetition::default();
            let found =
                (1..2_000).any(|hash| repetition.is_repeated(if rng.u32(0..10) == 0 { 0 } else { hash }));
            assert!(found, "seed {seed}");
        }
    }
}
