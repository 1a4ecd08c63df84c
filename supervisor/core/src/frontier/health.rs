//! Whose fault the refusals of a host are, and how much may be retried.
//!
//! A refusal (429, 503, a blocked page) is the host's limit or the page's own fault. On a host with a limit, targets that
//! were refused are served on a later attempt; on a host with broken pages, they are refused again. Whether it is the
//! number of requests is decided by [`refusals`](super::refusals), and when a host is given up by
//! [`giving_up`](super::giving_up).
//!
//! The retry budget is that of Finagle and gRPC (proposal A6): requests earn a share of a retry, and retries spend it.
//! So a server that fails under its load gets at most a fifth more.

use std::time::Instant;

use wire::record::ErrorKind;

use super::control::Answer;
use super::giving_up::{Failures, GIVE_UP_AFTER, GivenUp};
use super::refusals::Refusals;

/// Refusals after a target's first one that cost no attempt: on hosts with a limit, and on hosts with broken pages.
const DEFERRALS_MAX: u8 = 10;
const DEFERRALS_OF_PAGES_MAX: u8 = 2;

/// Refusals of targets refused before after which pages are to blame, for each target that was served after a refusal.
const BLAMED_FROM: u8 = 6;

/// Refusals in a row that broken pages may explain.
const RUN_OF_PAGES_MAX: u8 = 3;

/// Refusals in a row that double the pause after each, where a refusal may be the page's own fault. If every one did, ten
/// pages that answer 503 twice at first would take minutes.
const RUN_PER_DOUBLING: u8 = 4;

/// Retries that a host without requests so far is worth, and the most that it can save up.
const RETRIES_AT_FIRST: i32 = 10;
const RETRIES_SAVED_MAX: i32 = 100;

/// Requests that earn one retry.
const REQUESTS_PER_RETRY: i32 = 5;

/// How one attempt ended, as far as its host is concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// When it was sent, or later.
    pub(crate) sent_at: Instant,
    /// What it says about the host's load.
    pub(crate) answer: Answer,
    /// The kind of error, if the host refused or did not answer.
    pub(crate) failure: Option<ErrorKind>,
    /// Whether a refusal is surely about the number of requests.
    pub(crate) is_sure: bool,
}

impl Attempt {
    /// The same if the request did not come as far as the host.
    pub(crate) fn elsewhere(self) -> Self {
        Self { answer: Answer::Unknown, failure: None, ..self }
    }

    /// The same if the host did not answer, though the error is called by another name.
    pub(crate) fn lost(self) -> Self {
        Self { answer: Answer::Lost, failure: Some(ErrorKind::Connect), ..self }
    }

    /// The same if the page that came back turned the request away.
    pub(crate) fn blocked(self) -> Self {
        let answer = Answer::Refused { sent_at: self.sent_at };
        Self { answer, failure: Some(ErrorKind::Blocked), is_sure: true, ..self }
    }
}

/// The health of one host.
#[derive(Debug, Clone)]
pub(super) struct Health {
    answered_at: Option<Instant>,
    failures: Failures,
    /// Refusals since the last answer.
    run: u8,
    /// Refusals of targets that were refused before, and targets served after a refusal.
    again: u8,
    recovered: u8,
    /// What may be retried, in requests that earn it.
    earned: i32,
    /// Whether they are about the number of requests.
    pub(super) refusals: Refusals,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            answered_at: None,
            failures: Failures::default(),
            run: 0,
            again: 0,
            recovered: 0,
            earned: RETRIES_AT_FIRST * REQUESTS_PER_RETRY,
            refusals: Refusals::default(),
        }
    }

    /// Records that an earlier run has heard from it.
    pub(super) fn is_known(&mut self, now: Instant) {
        self.answered_at.get_or_insert(now);
    }

    /// Records a request, with so many others in flight.
    pub(super) fn on_start(&mut self, in_flight: u32) {
        self.refusals.on_start(in_flight);
        self.earned = (self.earned + 1).min(RETRIES_SAVED_MAX * REQUESTS_PER_RETRY);
    }

    /// Records a retry that was no deferral.
    pub(super) fn on_retry(&mut self) {
        self.earned -= REQUESTS_PER_RETRY;
    }

    /// Whether a failed request may be retried. What is in flight may overdraw it, and later requests earn that first.
    pub(super) fn may_retry(&self) -> bool {
        self.earned >= REQUESTS_PER_RETRY
    }

    /// Number of refusals of one target up to which they cost no attempt.
    pub(super) fn patience(&self, now: Instant) -> u8 {
        let is_alive = self.answered_at.is_some_and(|at| now < at + GIVE_UP_AFTER);
        match (is_alive, self.has_broken_pages()) {
            (false, _) => 0,
            (true, true) => DEFERRALS_OF_PAGES_MAX,
            (true, false) => DEFERRALS_MAX,
        }
    }

    /// Whether pages are to blame for what this host refuses.
    pub(super) fn has_broken_pages(&self) -> bool {
        self.again >= BLAMED_FROM && self.again / BLAMED_FROM >= self.recovered
    }

    /// Records how an attempt ended at a target that was refused `refusals` times before. Returns what that says about
    /// the load: nothing, if the page is to blame.
    pub(super) fn hear(&mut self, now: Instant, attempt: &Attempt, refusals: u8) -> Answer {
        let refused = matches!(attempt.answer, Answer::Refused { .. });
        self.refusals.on_end(refused);
        if let Answer::Served { .. } = attempt.answer {
            self.answered_at = Some(now);
            self.failures = Failures::default();
            self.run = 0;
            self.count(0, u8::from(refusals > 0));
            return attempt.answer;
        }
        if let Some(kind) = attempt.failure {
            self.failures.add(now, attempt.sent_at, kind, refused, self.answered_at.is_some());
        }
        if !refused {
            return attempt.answer;
        }
        self.count(u8::from(refusals > 0), 0);
        self.run = self.run.saturating_add(1);
        // Only while the host serves others.
        let own_fault = self.run <= RUN_OF_PAGES_MAX && self.has_broken_pages() && self.answered_at.is_some();
        if own_fault { Answer::Unknown } else { attempt.answer }
    }

    /// How often the pause may have been doubled by refusals of which each may be a page's own fault.
    pub(super) fn doublings(&self) -> u32 {
        u32::from(self.run / RUN_PER_DOUBLING)
    }

    fn count(&mut self, again: u8, recovered: u8) {
        self.again += again;
        self.recovered += recovered;
        // What was long ago says less.
        if self.again.max(self.recovered) >= 64 {
            self.again /= 2;
            self.recovered /= 2;
        }
    }

    /// Until when it is given up, if it is.
    pub(super) fn given_up_until(&self) -> Option<Instant> {
        self.failures.given_up_until()
    }

    /// Why it is given up, if it is.
    pub(super) fn given_up(&self, now: Instant) -> Option<GivenUp> {
        self.failures.given_up(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A host, and the time.
    struct Case {
        now: Instant,
        health: Health,
    }

    impl Case {
        fn new() -> Self {
            Self { now: wire::clock::now(), health: Health::new() }
        }

        fn hear(&mut self, answer: Answer, failure: Option<ErrorKind>, refusals: u8) -> Answer {
            self.now += SECOND / 10;
            let attempt = Attempt { sent_at: self.now - SECOND / 20, answer, failure, is_sure: false };
            self.health.hear(self.now, &attempt, refusals)
        }

        /// Serves a target that was refused so often before.
        fn serves(&mut self, refusals: u8) {
            self.hear(Answer::Served { first_byte: None }, None, refusals);
        }

        /// Returns whether the refusal counts against the host.
        fn refuses(&mut self, refusals: u8) -> bool {
            let sent_at = self.now;
            self.hear(Answer::Refused { sent_at }, Some(ErrorKind::HttpStatus), refusals) != Answer::Unknown
        }

        /// Fails every `gap` until given up. Returns after how many failures and seconds.
        fn fails_until_given_up(&mut self, gap: Duration) -> (u32, u64) {
            let began = self.now;
            for count in 1..1000 {
                self.hear(Answer::Lost, Some(ErrorKind::Connect), 0);
                if self.health.given_up(self.now).is_some() {
                    return (count, (self.now - began).as_secs());
                }
                self.now += gap;
            }
            panic!("it is never given up");
        }
    }

    #[test]
    fn a_page_that_is_refused_again_and_again_is_to_blame() {
        let mut case = Case::new();
        case.serves(0);
        let mut counts = Vec::new();
        for refusals in 0..9 {
            counts.push(case.refuses(refusals));
            case.serves(0);
        }
        assert_eq!(counts, [true, true, true, true, true, true, false, false, false]);
        assert_eq!(case.health.patience(case.now), DEFERRALS_OF_PAGES_MAX);
        // Once the host is known to have such pages, the next one does not slow it at all.
        assert!(!case.refuses(0));
    }

    #[test]
    fn a_limit_is_not_taken_for_broken_pages() {
        let mut case = Case::new();
        case.serves(0);
        for refusals in [0, 1, 2] {
            (0..4).for_each(|_| _ = case.refuses(refusals));
            // A fourth of the refused targets is served each time.
            case.serves(refusals + 1);
        }
        (0..5).for_each(|_| case.serves(3));
        assert_eq!(case.health.patience(case.now), DEFERRALS_MAX);
        assert!(case.refuses(0));
    }

    #[test]
    fn a_host_that_begins_to_refuse_everything_is_slowed_even_if_it_has_broken_pages() {
        let mut case = Case::new();
        for refusals in 0..9 {
            case.serves(0);
            case.refuses(refusals);
        }
        case.serves(0);
        let counts: Vec<_> = (0..5).map(|_| case.refuses(0)).collect();
        assert_eq!(counts, [false, false, false, true, true]);
    }

    #[test]
    fn refusals_cost_attempts_only_while_a_host_is_silent() {
        let mut case = Case::new();
        assert_eq!(case.health.patience(case.now), 0, "it has never answered");
        case.serves(0);
        assert_eq!(case.health.patience(case.now), DEFERRALS_MAX);
        assert_eq!(case.health.patience(case.now + GIVE_UP_AFTER), 0);
    }

    #[test]
    fn a_host_is_given_up_after_a_time_and_a_number_of_failures() {
        // Often, seldom, hardly ever.
        for (gap_s, known, unknown) in
            [(1, (274, 300), (56, 60)), (30, (11, 301), (10, 271)), (200, (5, 800), (10, 1801))]
        {
            let mut case = Case::new();
            assert_eq!(case.fails_until_given_up(SECOND * gap_s), unknown, "{gap_s} s");
            let mut case = Case::new();
            case.serves(0);
            assert_eq!(case.fails_until_given_up(SECOND * gap_s), known, "{gap_s} s");
            let message = case.health.given_up(case.now).unwrap().message("a");
            assert!(message.starts_with("a did not answer "), "{message}");
            case.serves(0);
            assert_eq!(case.health.given_up(case.now), None, "one answer is enough");
        }
    }

    #[test]
    fn what_was_sent_together_fails_together_and_counts_once() {
        let mut case = Case::new();
        let sent_at = case.now;
        let attempt =
            Attempt { sent_at, answer: Answer::Lost, failure: Some(ErrorKind::Timeout), is_sure: false };
        for _ in 0..1000 {
            case.health.hear(sent_at + 2 * GIVE_UP_AFTER, &attempt, 0);
        }
        assert_eq!(case.health.given_up(sent_at + 2 * GIVE_UP_AFTER), None);
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_retries() {
        let mut health = Health::new();
        let mut retries = 0;
        for _ in 0..10_000 {
            health.on_start(0);
            while health.may_retry() {
                health.on_retry();
                retries += 1;
            }
        }
        assert_eq!(retries, 10_000 / 5 + 10);
        (0..10_000).for_each(|_| health.on_start(0));
        let saved = (0..1_000)
            .take_while(|_| {
                health.may_retry() && {
                    health.on_retry();
                    true
                }
            })
            .count();
        assert_eq!(saved, 100);
    }
}
