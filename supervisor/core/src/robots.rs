//! When the robots.txt of an authority is fetched, and what happens to its targets until then (RFC 9309). Pure.
//!
//! One fetch per authority, whoever asks ("single flight"). Its answer decides for a day:
//!
//! | answer | targets |
//! |---|---|
//! | 2xx | are judged by its rules |
//! | 4xx but 429, or more than five redirects | may all be fetched |
//! | 429, 5xx, a timeout, no address | wait, and it is fetched again |
//!
//! A server that cannot give its robots.txt for [`HOLD_MAX`] is not asked for its pages: they are refused. RFC 9309
//! counts an unreachable file as a complete disallow; peers that take it for "allow all" are what brings a crawler into
//! trouble when a site is down.
//!
//! Rules are of any type `R`; nothing here parses them. Answers that outlive a run, or serve several, are in a cache of
//! the caller: it looks there before it fetches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustc_hash::FxHashMap;

/// How long an answer counts (RFC 9309 § 2.4).
pub const FRESH: Duration = Duration::from_secs(24 * 3600);

/// How long targets wait for a robots.txt that cannot be fetched.
pub const HOLD_MAX: Duration = Duration::from_secs(300);

/// The same while so many targets wait that no others can be read. Longer than a restart of a server takes.
pub const HOLD_CROWDED: Duration = Duration::from_secs(60);

/// Largest `Crawl-delay` that is kept to. A longer one would mean "never".
pub const CRAWL_DELAY_MAX: Duration = Duration::from_secs(300);

/// Time until it is fetched again after a failure: doubles from and to these.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// How soon to look whether another run has an answer.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Number of authorities below which none is forgotten.
const SWEEP_MIN: usize = 1024;

/// What came of one fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<R> {
    /// The file, and when it was fetched. An HTML page instead of one is a file without rules.
    Rules(R, Instant),
    /// There is none, so all is allowed; and when that was found out.
    Missing(Instant),
    /// It may exist, but could not be fetched. The server's `Retry-After`, if it gave one.
    Unreachable(Option<Duration>),
}

/// What to do with a target.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a, R> {
    /// Judge its path by these rules.
    Judge(&'a R),
    /// Fetch it.
    Allow,
    /// Do not fetch it: the robots.txt cannot be fetched. It gets a `robots` record.
    Refuse,
    /// It was kept; it comes back from [`Robots::handle_answer`].
    Kept,
}

#[derive(Debug, Clone)]
enum Known<R> {
    Nothing,
    Rules(R, Instant),
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
    /// Whether a target has asked since the last fetch began.
    wanted: bool,
    /// When it is to be fetched.
    due: Option<Instant>,
    /// Failures in a row, and when the first was.
    failures: u32,
    failing_since: Option<Instant>,
    /// Whether its targets were refused, and it has not answered since.
    given_up: bool,
}

impl<R> Default for Authority<R> {
    fn default() -> Self {
        Self {
            known: Known::Nothing,
            kept: Vec::new(),
            fetching: false,
            wanted: false,
            due: None,
            failures: 0,
            failing_since: None,
            given_up: false,
        }
    }
}

impl<R> Authority<R> {
    fn has_failed_for(&self, now: Instant, patience: Duration) -> bool {
        self.failing_since.is_some_and(|since| now.saturating_duration_since(since) >= patience)
    }

    /// Whether nothing is lost without it but an answer, which the caller's cache has.
    fn is_idle(&self) -> bool {
        self.kept.is_empty() && !self.fetching && self.failing_since.is_none()
    }
}

/// The robots.txt of all authorities.
#[derive(Debug)]
pub struct Robots<R> {
    authorities: FxHashMap<Arc<str>, Authority<R>>,
    /// Authorities with a fetch that is due, by when.
    due: BTreeSet<(Instant, Arc<str>)>,
    /// Number of authorities at which the idle ones are forgotten next.
    sweep_at: usize,
    rng: Rng,
}

impl<R> Robots<R> {
    /// Creates one that knows nothing. The same seed and the same calls give the same answers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            authorities: FxHashMap::default(),
            due: BTreeSet::new(),
            sweep_at: SWEEP_MIN,
            rng: Rng::with_seed(seed),
        }
    }

    /// Decides about a target of this authority (scheme, host and port), or keeps it.
    pub fn offer(&mut self, now: Instant, authority: &str, id: u64) -> Decision<'_, R> {
        let name = self.intern(now, authority);
        let entry = self.authorities.entry(Arc::clone(&name)).or_default();
        let fresh = entry.known.is_fresh(now);
        if !fresh {
            entry.wanted = true;
            if !entry.fetching && entry.due.is_none() {
                entry.due = Some(now);
                self.due.insert((now, name));
            }
        }
        match &entry.known {
            Known::Rules(rules, _) if fresh => Decision::Judge(rules),
            Known::Missing(_) if fresh => Decision::Allow,
            Known::Nothing | Known::Rules(..) | Known::Missing(_) if entry.given_up => Decision::Refuse,
            Known::Nothing | Known::Rules(..) | Known::Missing(_) => {
                entry.kept.push(id);
                Decision::Kept
            }
        }
    }

    /// Returns the shared name of an authority. Forgets idle ones now and then, because only this adds any.
    fn intern(&mut self, now: Instant, authority: &str) -> Arc<str> {
        if let Some((name, _)) = self.authorities.get_key_value(authority) {
            return Arc::clone(name);
        }
        if self.authorities.len() >= self.sweep_at {
            let due = &mut self.due;
            self.authorities.retain(|name, entry| {
                let has_given_up =
                    !entry.fetching && entry.kept.is_empty() && entry.has_failed_for(now, HOLD_MAX);
                let stays = !(entry.is_idle() || has_given_up);
                if let Some(at) = entry.due.filter(|_| !stays) {
                    due.remove(&(at, Arc::clone(name)));
                }
                stays
            });
            self.sweep_at = (self.authorities.len() * 2).max(SWEEP_MIN);
        }
        Arc::from(authority)
    }

    /// Whether it remembers this authority. One without an answer is forgotten now and then.
    #[must_use]
    pub fn knows(&self, authority: &str) -> bool {
        self.authorities.contains_key(authority)
    }

    /// Returns an authority whose robots.txt is to be fetched now. Answer each with [`Self::handle_answer`].
    pub fn poll_fetch(&mut self, now: Instant) -> Option<Arc<str>> {
        loop {
            let (at, _) = self.due.first()?;
            if *at > now {
                return None;
            }
            let (_, name) = self.due.pop_first()?;
            let Some(entry) = self.authorities.get_mut(&name) else { continue };
            entry.due = None;
            if entry.wanted || !entry.kept.is_empty() {
                (entry.fetching, entry.wanted) = (true, false);
                return Some(name);
            }
        }
    }

    /// Takes back a fetch that another run is making: the caller's cache may have its answer soon.
    pub fn put_off(&mut self, now: Instant, authority: &Arc<str>) {
        let Some(entry) = self.authorities.get_mut(authority) else { return };
        (entry.fetching, entry.wanted) = (false, true);
        entry.due = Some(now + LOOK_AGAIN);
        self.due.insert((now + LOOK_AGAIN, Arc::clone(authority)));
    }

    /// Returns when [`Self::poll_fetch`] has something again just because time passes.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Records what came of a fetch. Returns the targets that waited for it: offer them again. `patience` is how long
    /// targets wait for a robots.txt that cannot be fetched: [`HOLD_MAX`] or [`HOLD_CROWDED`].
    pub fn handle_answer(
        &mut self,
        now: Instant,
        authority: &str,
        answer: Answer<R>,
        patience: Duration,
    ) -> Kept {
        let Some((name, _)) = self.authorities.get_key_value(authority) else { return Kept::default() };
        let name = Arc::clone(name);
        let Some(entry) = self.authorities.get_mut(&name) else { return Kept::default() };
        entry.fetching = false;
        entry.known = match answer {
            Answer::Rules(rules, at) => Known::Rules(rules, at),
            Answer::Missing(at) => Known::Missing(at),
            Answer::Unreachable(after) => {
                entry.failing_since.get_or_insert(now);
                let step = AGAIN_MIN.saturating_mul(1_u32.checked_shl(entry.failures).unwrap_or(u32::MAX));
                entry.failures = entry.failures.saturating_add(1);
                let jitter = 0.75 + 0.25 * self.rng.f64();
                let wait = step.min(AGAIN_MAX).mul_f64(jitter).max(after.unwrap_or_default().min(AGAIN_MAX));
                entry.due = Some(now + wait);
                self.due.insert((now + wait, name));
                entry.given_up |= entry.has_failed_for(now, patience);
                let targets = if entry.given_up { std::mem::take(&mut entry.kept) } else { Vec::new() };
                return Kept { targets, refused: entry.given_up };
            }
        };
        (entry.failures, entry.failing_since, entry.given_up) = (0, None, false);
        Kept { targets: std::mem::take(&mut entry.kept), refused: false }
    }
}

/// Targets that no longer wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Their ids, in the order in which they were offered.
    pub targets: Vec<u64>,
    /// Whether they are refused, as if [`Robots::offer`] had said so. Otherwise offer them again.
    pub refused: bool,
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

    fn kept(targets: impl IntoIterator<Item = u64>) -> Kept {
        Kept { targets: targets.into_iter().collect(), refused: false }
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
        assert_eq!(robots.handle_answer(now, A, Answer::Rules("r", now), HOLD_MAX), kept(0..=100));
        assert_eq!(robots.offer(now, A, 0), Decision::Judge(&"r"));
        let later = now + FRESH;
        assert_eq!(robots.offer(later - SECOND, A, 1), Decision::Judge(&"r"));
        assert_eq!(robots.offer(later, A, 2), Decision::Kept, "a day later it is fetched again");
        assert!(robots.poll_fetch(later).is_some());
        assert_eq!(robots.handle_answer(later, A, Answer::Missing(later), HOLD_MAX), kept([2]));
        assert_eq!(robots.offer(later, A, 2), Decision::Allow);
    }

    #[test]
    fn an_old_answer_counts_for_the_rest_of_its_day() {
        let (mut robots, fetched) = robots();
        let now = fetched + FRESH / 2;
        robots.offer(now, A, 1);
        robots.poll_fetch(now);
        assert_eq!(robots.handle_answer(now, A, Answer::Rules("r", fetched), HOLD_MAX), kept([1]));
        assert_eq!(robots.offer(fetched + FRESH - SECOND, A, 1), Decision::Judge(&"r"));
        assert_eq!(robots.offer(fetched + FRESH, A, 1), Decision::Kept);
    }

    #[test]
    fn targets_wait_for_a_server_that_is_down_and_no_longer() {
        for (patience, fetches_max) in [(HOLD_MAX, 16), (HOLD_CROWDED, 9)] {
            let (mut robots, start) = robots();
            assert_eq!(robots.offer(start, A, 1), Decision::Kept);
            let (mut now, mut fetches) = (start, 0);
            loop {
                now = now.max(robots.next_due().unwrap());
                assert!(robots.poll_fetch(now).is_some());
                fetches += 1;
                let kept = robots.handle_answer(now, A, Answer::Unreachable(None), patience);
                if !kept.targets.is_empty() {
                    assert_eq!(kept, Kept { targets: vec![1], refused: true });
                    break;
                }
            }
            assert!(now >= start + patience && now <= start + patience + AGAIN_MAX, "{:?}", now - start);
            assert!((5..fetches_max).contains(&fetches), "{fetches} fetches");
        }
    }

    #[test]
    fn a_server_that_is_back_is_noticed_but_not_watched() {
        let (mut robots, start) = robots();
        robots.offer(start, A, 1);
        robots.poll_fetch(start);
        robots.handle_answer(start, A, Answer::Unreachable(None), HOLD_MAX);
        let mut now = start + HOLD_MAX;
        robots.poll_fetch(now);
        assert!(robots.handle_answer(now, A, Answer::Unreachable(None), HOLD_MAX).refused);
        now = robots.next_due().unwrap();
        assert_eq!(robots.poll_fetch(now), None, "nobody has asked since");
        assert_eq!(robots.next_due(), None);
        assert_eq!(robots.offer(now, A, 2), Decision::Refuse);
        assert_eq!(robots.offer(now, A, 3), Decision::Refuse);
        assert!(robots.poll_fetch(now).is_some(), "somebody has");
        assert_eq!(robots.offer(now, A, 4), Decision::Refuse, "refused targets do not wait for it");
        assert_eq!(robots.handle_answer(now, A, Answer::Rules("r", now), HOLD_MAX), Kept::default());
        assert_eq!(robots.offer(now, A, 1), Decision::Judge(&"r"), "it is back");
    }

    #[test]
    fn a_retry_after_is_kept_to_within_reason() {
        let (mut robots, now) = robots();
        robots.offer(now, A, 1);
        robots.poll_fetch(now);
        robots.handle_answer(now, A, Answer::Unreachable(Some(SECOND * 7)), HOLD_MAX);
        assert_eq!(robots.next_due(), Some(now + SECOND * 7));
        robots.poll_fetch(now + SECOND * 7);
        robots.handle_answer(now, A, Answer::Unreachable(Some(SECOND * 86_400 * 365)), HOLD_MAX);
        assert_eq!(robots.next_due(), Some(now + AGAIN_MAX));
    }

    #[test]
    fn a_fetch_that_another_run_makes_is_not_made_twice() {
        let (mut robots, now) = robots();
        robots.offer(now, A, 1);
        let name = robots.poll_fetch(now).unwrap();
        robots.put_off(now, &name);
        assert_eq!((robots.poll_fetch(now), robots.next_due()), (None, Some(now + LOOK_AGAIN)));
        assert_eq!(robots.poll_fetch(now + LOOK_AGAIN).as_deref(), Some(A));
        assert_eq!(robots.handle_answer(now, A, Answer::Missing(now), HOLD_MAX), kept([1]));
    }

    #[test]
    fn what_it_remembers_is_bounded_and_no_waiting_target_is_lost() {
        let (mut robots, now) = robots();
        robots.offer(now, A, 0);
        for id in 1..100_000 {
            let name = format!("https://h{id}");
            robots.offer(now, &name, id);
            while let Some(name) = robots.poll_fetch(now).filter(|name| &**name != A) {
                robots.handle_answer(now, &name, Answer::Missing(now), HOLD_MAX);
            }
        }
        assert!(robots.authorities.len() <= SWEEP_MIN, "{}", robots.authorities.len());
        assert_eq!(robots.handle_answer(now, A, Answer::Rules("r", now), HOLD_MAX), kept([0]));
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
                        let answer = match rng.u32(0..4) {
                            0 => Answer::Rules("r", now),
                            1 => Answer::Missing(now),
                            _ => Answer::Unreachable(None),
                        };
                        if matches!(answer, Answer::Rules(..) | Answer::Missing(_)) {
                            answered.insert(name.to_string());
                        }
                        let patience = if rng.bool() { HOLD_MAX } else { HOLD_CROWDED };
                        for id in robots.handle_answer(now, &name, answer, patience).targets {
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
                for id in robots.handle_answer(now, &name, Answer::Missing(now), HOLD_MAX).targets {
                    assert!(kept.remove(&id));
                }
                rounds += 1;
                assert!(rounds < 100, "seed {seed}: {} targets are kept for ever", kept.len());
            }
        }
    }
}
