//! When the robots.txt of an authority is fetched, and what happens to its targets until then (RFC 9309). Pure.
//!
//! One fetch per authority, whoever asks ("single flight"). Its answer decides for a day:
//!
//! | answer | targets |
//! |---|---|
//! | 2xx | are judged by its rules |
//! | 4xx but 429, or more than five redirects | may all be fetched |
//! | 429, 5xx, a timeout, no address | wait, and it is fetched again; a copy younger than a day is used meanwhile |
//!
//! A server that cannot give its robots.txt for [`HOLD_MAX`] is not asked for its pages: they are refused. RFC 9309
//! counts an unreachable file as a complete disallow; peers that take it for "allow all" are what brings a crawler into
//! trouble when a site is down.
//!
//! Rules are of any type `R`; nothing here parses them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustc_hash::FxHashMap;

/// How long an answer counts (RFC 9309 § 2.4).
pub const FRESH: Duration = Duration::from_secs(24 * 3600);

/// How long targets wait for a robots.txt that cannot be fetched.
pub const HOLD_MAX: Duration = Duration::from_secs(300);

/// Largest `Crawl-delay` that is kept to. A longer one would mean "never".
pub const CRAWL_DELAY_MAX: Duration = Duration::from_secs(300);

/// Time until it is fetched again after a failure: doubles from and to these.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// What came of one fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<R> {
    /// The file. An HTML page instead of one is a file without rules.
    Rules(R),
    /// There is none, so all is allowed.
    Missing,
    /// It may exist, but could not be had. The server's `Retry-After`, if it gave one.
    Unreachable(Option<Duration>),
    /// The worker died before it could tell.
    Unknown,
}

/// What to do with a target.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a, R> {
    /// Judge its path by these rules.
    Judge(&'a R),
    /// Fetch it.
    Allow,
    /// Do not fetch it: the robots.txt cannot be had. It gets a `robots` record.
    Refuse,
    /// It was kept; it comes back from [`Robots::handle_answer`].
    Kept,
}

#[derive(Debug, Clone)]
enum Known<R> {
    Nothing,
    Rules(Arc<R>, Instant),
    Missing(Instant),
}

impl<R> Known<R> {
    fn is_fresh(&self, now: Instant) -> bool {
        match self {
            Self::Nothing => false,
            Self::Rules(_, at) | Self::Missing(at) => now.saturating_duration_since(*at) < FRESH,
        }
    }
}

#[derive(Debug)]
struct Authority<R> {
    known: Known<R>,
    /// Targets that wait for an answer.
    kept: Vec<u64>,
    fetching: bool,
    /// When it is to be fetched; `None` while nobody asks.
    due: Option<Instant>,
    /// Failures in a row, and when the first was.
    failures: u32,
    failing_since: Option<Instant>,
}

impl<R> Default for Authority<R> {
    fn default() -> Self {
        Self {
            known: Known::Nothing,
            kept: Vec::new(),
            fetching: false,
            due: None,
            failures: 0,
            failing_since: None,
        }
    }
}

impl<R> Authority<R> {
    fn has_given_up(&self, now: Instant) -> bool {
        self.failing_since.is_some_and(|since| now.saturating_duration_since(since) >= HOLD_MAX)
    }
}

/// The robots.txt of all authorities.
#[derive(Debug)]
pub struct Robots<R> {
    authorities: FxHashMap<Arc<str>, Authority<R>>,
    /// Authorities with a fetch that is due, by when.
    due: BTreeSet<(Instant, Arc<str>)>,
    rng: Rng,
}

impl<R> Robots<R> {
    /// Creates an empty cache. The same seed and the same calls give the same answers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { authorities: FxHashMap::default(), due: BTreeSet::new(), rng: Rng::with_seed(seed) }
    }

    /// Decides about a target of this authority (scheme, host and port), or keeps it.
    pub fn offer(&mut self, now: Instant, authority: &str, id: u64) -> Decision<'_, R> {
        let name = match self.authorities.get_key_value(authority) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(authority),
        };
        let entry = self.authorities.entry(Arc::clone(&name)).or_default();
        let fresh = entry.known.is_fresh(now);
        let refused = !fresh && entry.has_given_up(now);
        if !fresh && !entry.fetching && entry.due.is_none() {
            entry.due = Some(now);
            self.due.insert((now, name));
        }
        match &entry.known {
            Known::Rules(rules, _) if fresh => Decision::Judge(rules),
            Known::Missing(_) if fresh => Decision::Allow,
            Known::Nothing | Known::Rules(..) | Known::Missing(_) if refused => Decision::Refuse,
            Known::Nothing | Known::Rules(..) | Known::Missing(_) => {
                entry.kept.push(id);
                Decision::Kept
            }
        }
    }

    /// Returns an authority whose robots.txt is to be fetched now. Answer each with [`Self::handle_answer`].
    pub fn poll_fetch(&mut self, now: Instant) -> Option<Arc<str>> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, name) = self.due.pop_first()?;
        if let Some(entry) = self.authorities.get_mut(&name) {
            entry.due = None;
            entry.fetching = true;
        }
        Some(name)
    }

    /// Returns when [`Self::poll_fetch`] has something again just because time passes.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Records what came of a fetch. Returns the targets that waited for it: offer them again.
    pub fn handle_answer(&mut self, now: Instant, authority: &str, answer: Answer<R>) -> Vec<u64> {
        let Some((name, _)) = self.authorities.get_key_value(authority) else { return Vec::new() };
        let name = Arc::clone(name);
        let Some(entry) = self.authorities.get_mut(&name) else { return Vec::new() };
        entry.fetching = false;
        let after = match answer {
            Answer::Rules(rules) => {
                entry.known = Known::Rules(Arc::new(rules), now);
                None
            }
            Answer::Missing => {
                entry.known = Known::Missing(now);
                None
            }
            Answer::Unknown => Some(Duration::ZERO),
            Answer::Unreachable(after) => {
                entry.failing_since.get_or_insert(now);
                let step = AGAIN_MIN.saturating_mul(1_u32.checked_shl(entry.failures).unwrap_or(u32::MAX));
                entry.failures = entry.failures.saturating_add(1);
                let jitter = 0.75 + 0.25 * self.rng.f64();
                Some(step.min(AGAIN_MAX).mul_f64(jitter).max(after.unwrap_or_default().min(AGAIN_MAX)))
            }
        };
        let Some(after) = after else {
            (entry.failures, entry.failing_since) = (0, None);
            return std::mem::take(&mut entry.kept);
        };
        let gives_up = entry.has_given_up(now);
        // Nobody waits for it if they are all refused; the next target asks again, but not at once.
        entry.due = Some(now + after);
        self.due.insert((now + after, name));
        if gives_up { std::mem::take(&mut entry.kept) } else { Vec::new() }
    }

    /// Drops what no longer counts: call it now and then.
    pub fn sweep(&mut self, now: Instant) {
        let forgettable =
            |entry: &Authority<R>| entry.kept.is_empty() && !entry.fetching && !entry.known.is_fresh(now);
        let due = &mut self.due;
        self.authorities.retain(|name, entry| {
            if !forgettable(entry) || entry.failing_since.is_some_and(|since| now < since + FRESH) {
                return true;
            }
            if let Some(at) = entry.due {
                due.remove(&(at, Arc::clone(name)));
            }
            false
        });
    }

    /// Returns every answer that still counts, with its age; `None` stands for "there is none".
    pub fn export(&self, now: Instant) -> impl Iterator<Item = (&str, Option<&R>, Duration)> {
        self.authorities.iter().filter(move |(_, entry)| entry.known.is_fresh(now)).filter_map(
            move |(name, entry)| {
                let (rules, at) = match &entry.known {
                    Known::Nothing => return None,
                    Known::Rules(rules, at) => (Some(&**rules), at),
                    Known::Missing(at) => (None, at),
                };
                Some((&**name, rules, now.saturating_duration_since(*at)))
            },
        )
    }

    /// Takes over an answer of this age from an earlier run.
    pub fn import(&mut self, now: Instant, authority: &str, rules: Option<R>, age: Duration) {
        let Some(at) = now.checked_sub(age).filter(|_| age < FRESH) else { return };
        let known = match rules {
            Some(rules) => Known::Rules(Arc::new(rules), at),
            None => Known::Missing(at),
        };
        self.authorities.insert(Arc::from(authority), Authority { known, ..Authority::default() });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const A: &str = "https://a:443";

    fn robots() -> (Robots<&'static str>, Instant) {
        (Robots::new(1), wire::clock::now())
    }

    #[test]
    fn one_fetch_decides_for_all_targets_of_an_authority() {
        let (mut robots, now) = robots();
        for id in 0..100 {
            assert_eq!(robots.offer(now, A, id), Decision::Kept);
        }
        assert_eq!(robots.poll_fetch(now).as_deref(), Some(A));
        assert_eq!(robots.offer(now, A, 100), Decision::Kept, "it is under way");
        assert_eq!(robots.poll_fetch(now), None);
        assert_eq!(robots.handle_answer(now, A, Answer::Rules("r")), (0..=100).collect::<Vec<_>>());
        assert_eq!(robots.offer(now, A, 0), Decision::Judge(&"r"));
        let later = now + FRESH;
        assert_eq!(robots.offer(later - SECOND, A, 1), Decision::Judge(&"r"));
        assert_eq!(robots.offer(later, A, 2), Decision::Kept, "a day later it is fetched again");
        assert!(robots.poll_fetch(later).is_some());
        assert_eq!(robots.handle_answer(later, A, Answer::Missing), [2]);
        assert_eq!(robots.offer(later, A, 2), Decision::Allow);
    }

    #[test]
    fn targets_wait_for_a_server_that_is_down_and_no_longer() {
        let (mut robots, start) = robots();
        assert_eq!(robots.offer(start, A, 1), Decision::Kept);
        let (mut now, mut fetches) = (start, 0);
        let kept = loop {
            now = now.max(robots.next_due().unwrap());
            assert!(robots.poll_fetch(now).is_some());
            fetches += 1;
            let kept = robots.handle_answer(now, A, Answer::Unreachable(None));
            if !kept.is_empty() {
                break kept;
            }
        };
        assert_eq!(kept, [1]);
        assert!(now >= start + HOLD_MAX && now <= start + HOLD_MAX + AGAIN_MAX, "{:?}", now - start);
        assert!((8..16).contains(&fetches), "{fetches} fetches");
        assert_eq!(robots.offer(now, A, 1), Decision::Refuse);
        assert_eq!(robots.poll_fetch(now), None, "refused targets bring no request");
        let later = robots.next_due().unwrap();
        assert!(robots.poll_fetch(later).is_some());
        assert!(robots.handle_answer(later, A, Answer::Rules("r")).is_empty());
        assert_eq!(robots.offer(later, A, 1), Decision::Judge(&"r"), "it is back");
    }

    #[test]
    fn a_retry_after_is_kept_to_within_reason_and_a_dead_worker_costs_nothing() {
        let (mut robots, now) = robots();
        robots.offer(now, A, 1);
        robots.poll_fetch(now);
        assert!(robots.handle_answer(now, A, Answer::Unknown).is_empty());
        assert_eq!(robots.next_due(), Some(now));
        robots.poll_fetch(now);
        robots.handle_answer(now, A, Answer::Unreachable(Some(SECOND * 7)));
        assert_eq!(robots.next_due(), Some(now + SECOND * 7));
        robots.poll_fetch(now + SECOND * 7);
        robots.handle_answer(now, A, Answer::Unreachable(Some(SECOND * 86_400 * 365)));
        assert_eq!(robots.next_due(), Some(now + AGAIN_MAX));
    }

    #[test]
    fn answers_outlive_a_run() {
        let (mut robots, now) = robots();
        robots.import(now, A, Some("r"), SECOND);
        robots.import(now, "http://b:80", None, SECOND);
        robots.import(now, "http://old:80", Some("o"), FRESH);
        let mut kept: Vec<_> = robots.export(now + SECOND).collect();
        kept.sort_unstable();
        assert_eq!(kept, [("http://b:80", None, SECOND * 2), (A, Some(&"r"), SECOND * 2)]);
        robots.sweep(now + FRESH);
        assert!(robots.authorities.is_empty());
    }

    /// Any order of offers, fetches and answers: each kept target comes back once, one fetch is under way at a time,
    /// and nothing is allowed that was not answered.
    #[test]
    fn random_histories_lose_no_target() {
        for seed in 0..2_000 {
            let mut rng = Rng::with_seed(seed);
            let (mut robots, mut now) = robots();
            let (mut kept, mut fetching, mut answered) = (BTreeSet::new(), VecDeque::new(), BTreeSet::new());
            for id in 0..300 {
                let name = format!("h{}", rng.u32(0..4));
                match rng.u32(0..4) {
                    0..=1 => match robots.offer(now, &name, id) {
                        Decision::Kept => _ = kept.insert(id),
                        Decision::Judge(_) | Decision::Allow => {
                            assert!(answered.contains(&name), "seed {seed}")
                        }
                        Decision::Refuse => {}
                    },
                    2 => {
                        if let Some(name) = robots.poll_fetch(now) {
                            assert!(!fetching.contains(&name), "seed {seed}: two fetches of {name}");
                            fetching.push_back(name);
                        } else {
                            now += SECOND * rng.u32(0..40);
                        }
                    }
                    _ => {
                        let Some(name) = fetching.pop_front() else { continue };
                        let answer = match rng.u32(0..5) {
                            0 => Answer::Rules("r"),
                            1 => Answer::Missing,
                            2 => Answer::Unknown,
                            _ => Answer::Unreachable(None),
                        };
                        if matches!(answer, Answer::Rules(_) | Answer::Missing) {
                            answered.insert(name.to_string());
                        }
                        for id in robots.handle_answer(now, &name, answer) {
                            assert!(kept.remove(&id), "seed {seed}: {id} came back twice");
                        }
                    }
                }
            }
            let mut rounds = 0;
            while !kept.is_empty() {
                now = now.max(robots.next_due().unwrap_or(now));
                fetching.extend(robots.poll_fetch(now));
                let Some(name) = fetching.pop_front() else { continue };
                for id in robots.handle_answer(now, &name, Answer::Missing) {
                    assert!(kept.remove(&id));
                }
                rounds += 1;
                assert!(rounds < 100, "seed {seed}: {} targets are kept for ever", kept.len());
            }
        }
    }
}
