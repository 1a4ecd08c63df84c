//! When a job logs in, and what it means that a page looks logged out. Pure: it gets what happened and says what to do.
//!
//! One login at a time, over all workers. Each begins a *session* with a number of its own. An answer is judged against
//! the session that it was asked in, so one that comes late changes nothing.
//!
//! A page that looks logged out is a suspect: either the session has ended, or the account may not see that page. A
//! page that was seen logged in before, the *control*, is asked for once more to tell the two apart:
//!
//! | the control | means | so |
//! |---|---|---|
//! | looks logged out too | the session has ended | a new login; all suspects are innocent |
//! | looks logged in | the account may not see the suspect | it is asked for once more; after the second time it fails |
//! | cannot be had, or there is none | nothing | a new login, as long as few of these were of no use |
//!
//! So pages that an account may not see cost no login while a control is known, and [`WASTED_MAX`] plus the logarithm of
//! their number while no page was seen logged in. In a job whose requests must not be repeated there is no control, and
//! each costs up to one. A login that succeeds proves that the account is good, however many pages look logged out;
//! only logins that fail themselves end the run.

use rustc_hash::{FxHashMap, FxHashSet};

/// How often a page may look logged out in a session that is alive.
const STRIKES_MAX: u8 = 2;

/// Logins that fail in a row before no more are tried: one may meet a token that is out of date.
const FAILURES_MAX: u32 = 2;

/// Logins in a row after which no page was seen logged in, before further ones are tried only each time that the number of
/// pages that look logged out has doubled.
const WASTED_MAX: u32 = 3;

/// What a job did to log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoginCounts {
    /// Logins that succeeded.
    pub logins: u64,
    /// Answers that looked logged out.
    pub logged_out: u64,
    /// Logins that failed.
    pub failed: u64,
}

/// What is known of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is none that is logged in.
    Out,
    /// A login is under way.
    LoggingIn,
    /// It is logged in, as far as is known.
    In,
    /// The control is being asked for.
    Checking,
    /// Logins fail. Nothing more is asked.
    GivenUp,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Stay,
    /// Begin a session, and log in.
    LogIn,
    /// Ask for the control.
    Check,
    /// Let the targets start that wait.
    GoOn,
    /// End the run.
    GiveUp,
}

/// What to do with a target that is about to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Send it.
    Pass,
    /// Let it wait.
    Wait,
    /// End it: the account may not see it.
    Refuse,
}

/// What a page that was asked for to check the session shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Somebody who is logged in.
    In,
    /// Somebody who is not.
    Out,
    /// Neither: it could not be had.
    Nothing,
}

/// Which pages can be the control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controls {
    /// One that the user has named.
    Named,
    /// Any that was seen logged in.
    Seen,
    /// None, because to ask twice may have an effect.
    None,
}

/// The sessions of a job that logs in.
#[derive(Debug)]
pub(crate) struct Sessions {
    controls: Controls,
    number: u32,
    phase: Phase,
    /// Logins that failed in a row.
    failures: u32,
    /// Whether a control is known, and how often in a row it was seen logged out.
    has_control: bool,
    control_outs: u32,
    strikes: FxHashMap<u64, u8>,
    /// Pages that looked logged out and that the check under way is about.
    suspects: Vec<u64>,
    /// Pages that the account may not see, and that wait for their end.
    refused: FxHashSet<u64>,
    /// Logins since a page was last seen logged in, and pages that looked logged out since the last of them.
    wasted: u32,
    unproven: u32,
    counts: LoginCounts,
}

impl Sessions {
    /// Begins with session `number`, which is logged in or not.
    pub(crate) fn new(number: u32, is_in: bool, controls: Controls) -> Self {
        Self {
            controls,
            number,
            phase: if is_in { Phase::In } else { Phase::Out },
            failures: 0,
            has_control: controls == Controls::Named,
            control_outs: 0,
            strikes: FxHashMap::default(),
            suspects: Vec::new(),
            refused: FxHashSet::default(),
            wasted: 0,
            unproven: 0,
            counts: LoginCounts::default(),
        }
    }

    /// The number of the session.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// What was done so far.
    pub(crate) const fn counts(&self) -> LoginCounts {
        self.counts
    }

    /// Whether a target that needs the login may start. If it must wait, the step says what for.
    pub(crate) fn enter(&mut self, id: u64) -> (Entry, Step) {
        match self.phase {
            _ if self.refused.remove(&id) => {
                self.strikes.remove(&id);
                (Entry::Refuse, Step::Stay)
            }
            Phase::In => (Entry::Pass, Step::Stay),
            Phase::Out => (Entry::Wait, self.log_in()),
            Phase::LoggingIn | Phase::Checking | Phase::GivenUp => (Entry::Wait, Step::Stay),
        }
    }

    /// A page was seen logged in. Returns whether it becomes the control.
    pub(crate) fn seen_in(&mut self, id: u64, number: u32) -> bool {
        self.strikes.remove(&id);
        if number != self.number || !matches!(self.phase, Phase::In | Phase::Checking) {
            return false;
        }
        (self.wasted, self.unproven, self.failures) = (0, 0, 0);
        if self.phase == Phase::Checking {
            return false;
        }
        (self.has_control, self.control_outs) = (self.controls != Controls::None, 0);
        self.controls == Controls::Seen
    }

    /// A page looks logged out that was asked for in session `number`. It is asked for again in any case, unless it is
    /// refused when it [enters](Self::enter).
    pub(crate) fn seen_out(&mut self, id: u64, number: u32) -> Step {
        if number != self.number {
            return Step::Stay;
        }
        match self.phase {
            // What was asked before a login began has another number.
            Phase::Out | Phase::LoggingIn | Phase::GivenUp => return Step::Stay,
            Phase::In | Phase::Checking => {}
        }
        self.counts.logged_out += 1;
        let strikes = self.strikes.entry(id).or_default();
        *strikes = strikes.saturating_add(1);
        let has_struck_out = *strikes >= STRIKES_MAX;
        if self.phase == Phase::Checking {
            self.suspects.push(id);
            return Step::Stay;
        }
        if self.has_control {
            self.suspects.push(id);
            self.phase = Phase::Checking;
            return Step::Check;
        }
        if has_struck_out {
            self.refused.insert(id);
            return Step::Stay;
        }
        self.unproven = self.unproven.saturating_add(1);
        if self.wasted < WASTED_MAX || self.unproven >= 1_u32.checked_shl(self.wasted).unwrap_or(u32::MAX) {
            (self.wasted, self.unproven) = (self.wasted.saturating_add(1), 0);
            return self.log_in();
        }
        self.refused.insert(id);
        Step::Stay
    }

    /// The control was asked for in session `number`.
    pub(crate) fn checked(&mut self, number: u32, shown: Shown) -> Step {
        if number != self.number || self.phase != Phase::Checking {
            return Step::Stay;
        }
        let suspects = std::mem::take(&mut self.suspects);
        match shown {
            Shown::In => {
                self.control_outs = 0;
                let struck_out = |id: &u64| self.strikes.get(id).is_some_and(|count| *count >= STRIKES_MAX);
                let out: Vec<u64> = suspects.into_iter().filter(struck_out).collect();
                self.refused.extend(out);
                self.phase = Phase::In;
                Step::GoOn
            }
            Shown::Out if self.control_outs == 0 => {
                self.control_outs = 1;
                for id in suspects {
                    self.strikes.remove(&id);
                }
                self.log_in()
            }
            // Nothing was seen logged in since the login before, so it may be the control that is of no use.
            Shown::Out | Shown::Nothing => {
                (self.has_control, self.control_outs) = (false, 0);
                self.log_in()
            }
        }
    }

    /// The session cannot go on, for a reason of its own: its proxy has failed.
    pub(crate) fn lost(&mut self) -> Step {
        match self.phase {
            Phase::In | Phase::Checking => {
                self.suspects.clear();
                self.log_in()
            }
            Phase::Out | Phase::LoggingIn | Phase::GivenUp => Step::Stay,
        }
    }

    /// The login of session `number` has ended.
    pub(crate) fn ended(&mut self, number: u32, succeeded: bool) -> Step {
        if number != self.number || self.phase != Phase::LoggingIn {
            return Step::Stay;
        }
        if succeeded {
            self.counts.logins += 1;
            self.failures = 0;
            self.phase = Phase::In;
            return Step::GoOn;
        }
        self.counts.failed += 1;
        self.failures += 1;
        if self.failures < FAILURES_MAX {
            return self.log_in();
        }
        self.phase = Phase::GivenUp;
        Step::GiveUp
    }

    /// Forgets a target that has its record.
    pub(crate) fn forget(&mut self, id: u64) {
        self.strikes.remove(&id);
    }

    fn log_in(&mut self) -> Step {
        self.number = self.number.saturating_add(1);
        self.phase = Phase::LoggingIn;
        Step::LogIn
    }
}

#[cfg(test)]
mod tests;
