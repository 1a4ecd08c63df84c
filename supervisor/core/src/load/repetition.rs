//! Notices that a host *turns* to answering different URLs with one and the same page: a login, a captcha, an error
//! with status 200.
//!
//! Counts pages by their hash in bounded memory (Misra and Gries, 1982): any hash with a share above 1/25 of the
//! recent pages is among the 24 that are counted. Counts are halved every 256 pages, so that a host which turns after
//! a million good pages is noticed as quickly as one which turns after a hundred.
//!
//! A page only counts if the host had given many different ones before it first gave this one. So a host that always
//! had a common page (an empty list, a "not found" with status 200) raises no alarm.

use wire::protocol::PageMark;

/// When a page has been given too often: usually, and if it speaks of a challenge. An item that is listed twice, or a
/// page that is given for a handful of old URLs, has not.
const USUAL: Bound = Bound { share: 0.05, count: 12 };
const CHALLENGE: Bound = Bound { share: 0.025, count: 8 };

/// Share of a host's pages, since it first gave this one, that must be this one: a host that turns gives little else.
/// Old addresses that all lead to the front page are scattered among others. Pages that speak of a challenge need not.
const RUN_SHARE: f64 = 0.5;

/// Different pages that a host must have given before a page of its begins to count.
const VARIETY_MIN: u32 = 50;

/// A page that speaks of a challenge is suspicious at first sight, unless more than this share of the host's pages do.
const CHALLENGES_MAX: f64 = 0.25;

/// Hashes that are counted at once.
const COUNTED: usize = 24;

/// Pages after which all counts are halved.
const HALVED_AFTER: u32 = 256;

/// Pages that count as blocked, per host: the newest ones.
const BLOCKED_MAX: usize = 8;

/// What a page looks like, next to the others of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// A page like others.
    Usual,
    /// It may be one that repeats: the next pages will tell.
    Suspicious,
    /// It has now been given too often, and counts as blocked from now on.
    Alarm {
        /// How often it was given.
        count: u32,
    },
    /// It counts as blocked.
    Blocked,
}

/// Share of a host's recent pages that one page may have, and the least number of times that is too often.
struct Bound {
    share: f64,
    count: u32,
}

#[derive(Debug, Clone)]
struct Counted {
    hash: u64,
    count: u32,
    /// The input that it was first given for: the same URL has the same page.
    input: u64,
    /// Whether the host had given many different pages before.
    is_turn: bool,
    /// How often it was given since `run_from`, the number of the host's pages then.
    run: u32,
    run_from: u64,
}

/// The pages of one host. Empty, it needs no memory of its own.
#[derive(Debug, Clone, Default)]
pub struct Repetition {
    pages: u32,
    challenges: u32,
    /// All pages ever.
    total: u64,
    /// Pages that were not among those counted.
    different: u32,
    counted: Vec<Counted>,
    blocked: Vec<u64>,
}

impl Repetition {
    /// Records the page that was given for one more target. `input` is a hash of the target's input.
    pub fn see(&mut self, page: PageMark, input: u64) -> Sighting {
        if self.blocked.contains(&page.hash) {
            return Sighting::Blocked;
        }
        self.halve();
        self.pages += 1;
        self.total += 1;
        self.challenges += u32::from(page.challenges);
        let Some(at) = self.counted.iter().position(|counted| counted.hash == page.hash) else {
            return self.see_first(page, input);
        };
        let Some(counted) = self.counted.get_mut(at).filter(|counted| counted.input != input) else {
            return Sighting::Usual;
        };
        counted.count += 1;
        counted.run += 1;
        if f64::from(counted.run) < RUN_SHARE * (self.total - counted.run_from + 1) as f64 {
            (counted.run, counted.run_from) = (1, self.total);
        }
        let (is_turn, bound, count) = if page.challenges {
            (counted.is_turn, CHALLENGE, counted.count)
        } else {
            (counted.is_turn && counted.run > 1, USUAL, counted.run)
        };
        if !is_turn {
            return Sighting::Usual;
        }
        if count < bound.count || f64::from(count) <= bound.share * f64::from(self.pages) {
            return Sighting::Suspicious;
        }
        self.counted.swap_remove(at);
        if self.blocked.len() >= BLOCKED_MAX {
            self.blocked.remove(0);
        }
        self.blocked.push(page.hash);
        Sighting::Alarm { count }
    }

    fn see_first(&mut self, page: PageMark, input: u64) -> Sighting {
        let is_turn = self.different >= VARIETY_MIN;
        self.different = self.different.saturating_add(1);
        if self.counted.len() < COUNTED {
            let (run, run_from) = (1, self.total);
            self.counted.push(Counted { hash: page.hash, count: 1, input, is_turn, run, run_from });
        } else {
            self.counted.iter_mut().for_each(|counted| counted.count -= 1);
            self.counted.retain(|counted| counted.count > 0);
        }
        let rare = f64::from(self.challenges) <= CHALLENGES_MAX * f64::from(self.pages);
        if is_turn && page.challenges && rare { Sighting::Suspicious } else { Sighting::Usual }
    }

    fn halve(&mut self) {
        if self.pages < HALVED_AFTER {
            return;
        }
        self.pages /= 2;
        self.challenges /= 2;
        self.counted.iter_mut().for_each(|counted| counted.count /= 2);
        self.counted.retain(|counted| counted.count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAN: u64 = u64::MAX;

    /// A host, and the number of URLs it was asked for.
    #[derive(Default)]
    struct Host {
        pages: Repetition,
        urls: u64,
    }

    impl Host {
        fn gives(&mut self, hash: u64) -> Sighting {
            self.urls += 1;
            self.pages.see(PageMark { hash, challenges: false }, self.urls)
        }

        fn challenges(&mut self, hash: u64) -> Sighting {
            self.urls += 1;
            self.pages.see(PageMark { hash, challenges: true }, self.urls)
        }

        fn after(good: u64) -> Self {
            let mut host = Self::default();
            assert!((0..good).all(|hash| host.gives(hash) == Sighting::Usual), "different pages are fine");
            host
        }
    }

    #[test]
    fn one_page_among_others_is_fine() {
        let mut host = Host::after(300);
        for hash in 1000..3000 {
            assert_eq!(host.gives(hash), Sighting::Usual);
            if hash % 3 == 0 {
                assert_eq!(host.gives(BAN), Sighting::Usual, "many old addresses lead there");
            }
        }
        let alarm = (0..20).position(|_| matches!(host.gives(BAN), Sighting::Alarm { .. }));
        assert!(alarm.is_some(), "now the host turns");
    }

    #[test]
    fn a_host_that_turns_is_noticed_soon() {
        for good in [50, 300, 100_000] {
            let mut host = Host::after(good);
            let seen: Vec<_> = (0..20).map(|_| host.gives(BAN)).collect();
            let alarm = seen.iter().position(|sighting| matches!(sighting, Sighting::Alarm { .. })).unwrap();
            // It may take some more to find room in the table.
            assert!((11..20).contains(&alarm), "after {good} good pages: {seen:?}");
            assert!(seen[alarm + 1..].iter().all(|sighting| *sighting == Sighting::Blocked));
            assert!(host.pages.counted.len() <= COUNTED);
            assert_eq!(host.gives(good), Sighting::Usual, "another page is fine again");
        }
    }

    #[test]
    fn a_challenge_is_suspicious_at_first_sight() {
        for good in [50, 300, 100_000] {
            let mut host = Host::after(good);
            let seen: Vec<_> = (0..10).map(|_| host.challenges(BAN)).collect();
            let alarm = seen.iter().position(|sighting| matches!(sighting, Sighting::Alarm { .. })).unwrap();
            assert!(seen[..alarm].iter().all(|sighting| *sighting == Sighting::Suspicious));
        }
    }

    #[test]
    fn a_host_whose_pages_all_have_a_captcha_is_fine() {
        let mut host = Host::default();
        let seen: Vec<_> = (0..1_000).map(|hash| host.challenges(hash)).collect();
        assert!(seen.iter().all(|sighting| *sighting == Sighting::Usual));
    }

    #[test]
    fn a_host_that_was_always_like_this_is_fine() {
        for share in [2, 3, 10] {
            let mut host = Host::default();
            for hash in 1..5_000 {
                let hash = if hash % share == 0 { 0 } else { hash };
                assert_eq!(host.gives(hash), Sighting::Usual, "every {share}th page is empty");
            }
        }
        let mut host = Host::default();
        assert!((0..5_000).all(|_| host.gives(7) == Sighting::Usual), "it knows one page only");
    }

    #[test]
    fn a_page_now_and_then_raises_no_alarm() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut host = Host::after(100);
            for hash in 101..5_000 {
                let hash = if rng.u32(0..40) == 0 { BAN } else { hash };
                let sighting = host.gives(hash);
                assert!(matches!(sighting, Sighting::Usual | Sighting::Suspicious), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_challenge_for_a_tenth_of_the_pages_is_found_if_it_is_new() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut host = Host::after(100);
            let found = (101..2_000).any(|hash| {
                let sighting = if rng.u32(0..10) == 0 { host.challenges(BAN) } else { host.gives(hash) };
                matches!(sighting, Sighting::Alarm { .. })
            });
            assert!(found, "seed {seed}");
        }
    }

    #[test]
    fn the_same_url_has_the_same_page() {
        let mut host = Host::after(100);
        for _ in 0..1_000 {
            let page = PageMark { hash: BAN, challenges: false };
            assert_eq!(host.pages.see(page, 0), Sighting::Usual);
        }
    }
}
