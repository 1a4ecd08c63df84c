//! How many lines a program is given at once. Pure: it is told what happened.
//!
//! A program that dies with many lines in hand may have died of any of them, and it
//! may have held back the answers to others. So no line is blamed then: the first line
//! goes alone to a new process. If that dies too, it was that line. If not, two lines
//! go, then four, until the program is trusted again. This finds the line at once in a
//! program that answers line by line, and also in one that holds answers back.

use std::time::Duration;

/// Lines given together at which trust is complete.
const LIMIT_MAX: usize = 256;

/// Deaths in a row without an answer after which the program is started again at once: a bad line takes a few.
const DEATHS_FREE: u32 = 4;

/// Shortest wait before the start after that.
const DELAY_MIN: Duration = Duration::from_millis(10);

/// Longest wait before a start: the user should soon hear that the program is of no use.
const DELAY_MAX: Duration = Duration::from_millis(250);

/// Bad lines in a row, each with all its attempts, before a program that never answered is given up.
const NEVER_ANSWERED: u32 = 10;

/// The same for one that has answered.
const ANSWERED: u32 = 300;

/// What is known of a program.
#[derive(Debug)]
pub(super) struct Caution {
    attempts_max: u32,
    /// Lines it may be given together; `None` is as many as there are.
    limit: Option<usize>,
    /// Lines that are to be judged one by one: each alone in a process, whose whole output is its answer.
    to_prove: usize,
    /// Deaths in a row without an answer.
    deaths: u32,
    ever_answered: bool,
    /// Attempts at the first line that has no answer.
    attempts: u32,
}

/// What to do about a death.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No line can be blamed yet.
    Again,
    /// It was the first line, and that has another attempt.
    Retry,
    /// It was the first line, for the last time.
    SetAside,
    /// It dies whatever it is given.
    GiveUp,
}

impl Caution {
    pub(super) fn new(retries: u32) -> Self {
        Self {
            attempts_max: retries.saturating_add(1),
            limit: None,
            to_prove: 0,
            deaths: 0,
            ever_answered: false,
            attempts: 0,
        }
    }

    /// Lines it may be given now. A round of them is given only when all of the last round are answered.
    pub(super) fn limit(&self) -> Option<usize> {
        if self.to_prove > 0 { Some(1) } else { self.limit }
    }

    /// Whether the next line is to be the only one its process gets.
    pub(super) fn proves(&self) -> bool {
        self.to_prove > 0
    }

    /// Attempts at the first line so far, including the one that has just ended.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The first line has its record.
    pub(super) fn settled(&mut self) {
        self.attempts = 0;
        self.to_prove = self.to_prove.saturating_sub(1);
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        self.deaths = 0;
        self.ever_answered = true;
        self.settled();
    }

    /// A whole round was answered.
    pub(super) fn round_done(&mut self) {
        self.limit = self.limit.map(|limit| limit * 2).filter(|limit| *limit <= LIMIT_MAX);
    }

    /// It mixed up `unanswered` lines: each is to be judged by itself.
    pub(super) fn mixed_up(&mut self, unanswered: usize) {
        self.to_prove = unanswered.max(1);
    }

    /// It died, or was killed for its silence; `alone` says that the first line was all it ever got.
    pub(super) fn died(&mut self, alone: bool) -> Verdict {
        self.deaths += 1;
        self.limit = Some(1);
        let bad_lines = if self.ever_answered { ANSWERED } else { NEVER_ANSWERED };
        if self.deaths > bad_lines.saturating_mul(self.attempts_max) {
            return Verdict::GiveUp;
        }
        if !alone {
            return Verdict::Again;
        }
        self.attempts += 1;
        if self.attempts >= self.attempts_max { Verdict::SetAside } else { Verdict::Retry }
    }

    /// How long to wait before the next start.
    pub(super) fn delay(&self) -> Duration {
        match self.deaths.checked_sub(DEATHS_FREE) {
            None => Duration::ZERO,
            Some(more) => DELAY_MIN.saturating_mul(1 << more.min(8)).min(DELAY_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_that_was_alone_is_blamed() {
        let mut caution = Caution::new(2);
        assert_eq!((caution.limit(), caution.died(false), caution.limit()), (None, Verdict::Again, Some(1)));
        assert_eq!((caution.died(true), caution.attempts()), (Verdict::Retry, 1));
        assert_eq!((caution.died(true), caution.attempts()), (Verdict::Retry, 2));
        assert_eq!((caution.died(true), caution.attempts()), (Verdict::SetAside, 3));
        caution.settled();
        assert_eq!((caution.died(true), caution.attempts()), (Verdict::Retry, 1));
    }

    #[test]
    fn trust_comes_back_step_by_step() {
        let mut caution = Caution::new(0);
        caution.died(false);
        let mut limits = Vec::new();
        while let Some(limit) = caution.limit() {
            limits.push(limit);
            (0..limit).for_each(|_| caution.answered());
            caution.round_done();
        }
        assert_eq!(limits, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    }

    #[test]
    fn what_was_mixed_up_is_judged_line_by_line() {
        let mut caution = Caution::new(0);
        caution.mixed_up(2);
        for _ in 0..2 {
            assert_eq!((caution.proves(), caution.limit()), (true, Some(1)));
            caution.answered();
        }
        assert_eq!((caution.proves(), caution.limit()), (false, None));
    }

    /// The number of deaths at which a program that does nothing else is given up.
    fn patience(caution: &mut Caution) -> u32 {
        (1..)
            .find(|_| {
                caution.died(true) == Verdict::GiveUp || {
                    caution.settled();
                    false
                }
            })
            .unwrap()
    }

    #[test]
    fn a_program_that_always_dies_is_given_up_and_a_few_bad_lines_are_not_enough() {
        assert_eq!(patience(&mut Caution::new(2)), 31);
        let mut caution = Caution::new(2);
        caution.answered();
        assert_eq!(patience(&mut caution), 901);
    }

    #[test]
    fn a_bad_line_waits_for_nobody_and_a_broken_program_waits_a_little() {
        let mut caution = Caution::new(2);
        let delays: Vec<_> = (0..9)
            .map(|_| {
                caution.died(true);
                caution.delay().as_millis()
            })
            .collect();
        assert_eq!(delays, [0, 0, 0, 10, 20, 40, 80, 160, 250]);
    }
}
