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
//! | looks logged in, and was never seen logged out | nothing: anybody may see it | as below |
//! | cannot be had, or there is none | nothing | a new login, as long as few of these were of no use |
//!
//! So pages that an account may not see cost no login once a control is *proven*: the user has named it, or it was seen
//! logged out and in. Before that they cost [`WASTED_MAX`] plus the logarithm of their number. In a job whose requests
//! must not be repeated there is no control. A page that ends the session itself, such as a link to log out, costs
//! [`ENDED_MAX`] logins, and then fails. A login that succeeds proves that the account is good, however many pages look logged out;
//! only logins that fail themselves end the run.

use rustc_hash::{FxHashMap, FxHashSet};

/// How often a page may look logged out in a session that is alive.
const STRIKES_MAX: u8 = 2;

/// How often a page may be the first one sent that looks logged out when a session has ended.
const ENDED_MAX: u8 = 3;

/// Logins that fail in a row before no more are tried: one may meet a token that is out of date.
const FAILURES_MAX: u32 = 2;

/// Logins in a row after which no suspect was seen logged in, before further ones are tried only each time that the number of
/// pages that look logged out has doubled.
const WASTED_MAX: u32 = 5;

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

/// What speaks against a page.
#[derive(Debug, Clone, Copy, Default)]
struct Strikes {
    /// How often it looked logged out in a session that seems to be alive.
    outs: u8,
    /// How often it was the first to look logged out in one that had ended.
    ended: u8,
}

/// The sessions of a job that logs in.
#[derive(Debug)]
pub(crate) struct Sessions {
    controls: Controls,
    number: u32,
    phase: Phase,
    /// Logins that failed in a row.
    failures: u32,
    /// Whether a control is known; whether only somebody who is logged in sees it; and how often in a row it was seen
    /// logged out.
    has_control: bool,
    is_proven: bool,
    control_outs: u32,
    strikes: FxHashMap<u64, Strikes>,
    /// The turn in which each page was sent that has no result yet, and the last turn.
    entered: FxHashMap<u64, u64>,
    turn: u64,
    /// The first page sent of those that looked logged out when the last session ended, with its turn.
    first_out: Option<(u64, u64)>,
    /// Pages that looked logged out and that the check under way is about.
    suspects: Vec<u64>,
    /// Pages that the account may not see, and that wait for their end.
    refused: FxHashSet<u64>,
    /// Logins since a suspect was last seen logged in, and pages that looked logged out since the last of them.
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
            is_proven: controls == Controls::Named,
            control_outs: 0,
            strikes: FxHashMap::default(),
            entered: FxHashMap::default(),
            turn: 0,
            first_out: None,
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

    /// Whether targets wait until a login or a check has ended.
    pub(crate) const fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::LoggingIn | Phase::Checking)
    }

    /// Whether a target that needs the login may start. If it must wait, the step says what for.
    pub(crate) fn enter(&mut self, id: u64) -> (Entry, Step) {
        match self.phase {
            _ if self.refused.remove(&id) => {
                self.clear(id);
                (Entry::Refuse, Step::Stay)
            }
            Phase::In => {
                self.turn += 1;
                self.entered.insert(id, self.turn);
                (Entry::Pass, Step::Stay)
            }
            Phase::Out => (Entry::Wait, self.log_in()),
            Phase::LoggingIn | Phase::Checking | Phase::GivenUp => (Entry::Wait, Step::Stay),
        }
    }

    /// A page was seen logged in. Returns whether it becomes the control.
    pub(crate) fn seen_in(&mut self, id: u64, number: u32) -> bool {
        let was_out = self.clear(id);
        if was_out {
            // A login since then was of use.
            (self.wasted, self.unproven, self.control_outs) = (0, 0, 0);
        }
        if number != self.number || !matches!(self.phase, Phase::In | Phase::Checking) {
            return false;
        }
        self.failures = 0;
        let is_known = self.has_control && self.is_proven;
        if self.phase == Phase::Checking || self.controls != Controls::Seen || (is_known && !was_out) {
            return false;
        }
        (self.has_control, self.is_proven, self.control_outs) = (true, was_out, 0);
        true
    }

    /// A page looks logged out that was asked for in session `number`. It is asked for again in any case, unless it is
    /// refused when it [enters](Self::enter).
    pub(crate) fn seen_out(&mut self, id: u64, number: u32) -> Step {
        if self.strikes.get(&id).is_some_and(|strikes| strikes.ended >= ENDED_MAX) {
            self.refused.insert(id);
        }
        if number != self.number {
            if number.checked_add(1) == Some(self.number) {
                self.note_first_out(id);
            }
            return Step::Stay;
        }
        match self.phase {
            // It was not known to need the login, and nothing else has asked for one.
            Phase::Out => return self.log_in(),
            // What was asked before a login began has another number.
            Phase::LoggingIn | Phase::GivenUp => return Step::Stay,
            Phase::In | Phase::Checking => {}
        }
        self.counts.logged_out += 1;
        let strikes = self.strikes.entry(id).or_default();
        strikes.outs = strikes.outs.saturating_add(1);
        self.suspects.push(id);
        if self.phase == Phase::Checking {
            return Step::Stay;
        }
        if self.has_control {
            self.phase = Phase::Checking;
            return Step::Check;
        }
        self.doubt()
    }

    /// The control was asked for in session `number`.
    pub(crate) fn checked(&mut self, number: u32, shown: Shown) -> Step {
        if number != self.number || self.phase != Phase::Checking {
            return Step::Stay;
        }
        match shown {
            Shown::In if self.is_proven => {
                self.control_outs = 0;
                self.refuse_struck_out();
                self.suspects.clear();
                self.phase = Phase::In;
                Step::GoOn
            }
            // It may be a page that anybody sees.
            Shown::In => self.doubt(),
            Shown::Out => {
                self.charge_first_out();
                for id in self.suspects.clone() {
                    self.note_first_out(id);
                }
                if self.control_outs > 0 {
                    // No suspect was seen logged in since the login before, so it may be the control that is of no use.
                    self.drop_control();
                    return self.doubt();
                }
                (self.control_outs, self.is_proven) = (1, true);
                for id in std::mem::take(&mut self.suspects) {
                    self.strikes.entry(id).or_default().outs = 0;
                }
                self.log_in()
            }
            Shown::Nothing => {
                self.drop_control();
                self.doubt()
            }
        }
    }

    /// Nothing shows whether the session is alive. The suspects that had their chance are refused. For the others there is
    /// another login, as long as few were of no use.
    fn doubt(&mut self) -> Step {
        self.refuse_struck_out();
        let suspects = std::mem::take(&mut self.suspects);
        let open: Vec<u64> = suspects.into_iter().filter(|id| !self.refused.contains(id)).collect();
        let step = if self.phase == Phase::Checking { Step::GoOn } else { Step::Stay };
        self.phase = Phase::In;
        if open.is_empty() {
            return step;
        }
        self.unproven = self.unproven.saturating_add(u32::try_from(open.len()).unwrap_or(u32::MAX));
        if self.wasted < WASTED_MAX || self.unproven >= 1_u32.checked_shl(self.wasted).unwrap_or(u32::MAX) {
            (self.wasted, self.unproven) = (self.wasted.saturating_add(1), 0);
            self.charge_first_out();
            open.into_iter().for_each(|id| self.note_first_out(id));
            return self.log_in();
        }
        self.refused.extend(open);
        step
    }

    /// Some pages end the session themselves, such as a link to log out. It is the first one sent of those that look
    /// logged out, unless it is seen logged in later.
    fn note_first_out(&mut self, id: u64) {
        let Some(turn) = self.entered.remove(&id) else { return };
        if self.first_out.is_none_or(|(first, _)| turn < first) {
            self.first_out = Some((turn, id));
        }
    }

    /// The session has ended once more. While that page is under way, it may be seen logged in yet.
    fn charge_first_out(&mut self) {
        if let Some((_, id)) = self.first_out.take() {
            let strikes = self.strikes.entry(id).or_default();
            strikes.ended = strikes.ended.saturating_add(1);
        }
    }

    /// Refuses the suspects that have looked logged out too often.
    fn refuse_struck_out(&mut self) {
        for id in &self.suspects {
            if self.strikes.get(id).is_some_and(|strikes| strikes.outs >= STRIKES_MAX) {
                self.refused.insert(*id);
            }
        }
    }

    /// Does without the control. One that the user has named is not tried again.
    fn drop_control(&mut self) {
        (self.has_control, self.is_proven, self.control_outs) = (false, false, 0);
        if self.controls == Controls::Named {
            self.controls = Controls::None;
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
        self.clear(id);
    }

    /// Drops what is known of a page. Returns whether anything spoke against it.
    fn clear(&mut self, id: u64) -> bool {
        self.entered.remove(&id);
        if self.first_out.is_some_and(|(_, first)| first == id) {
            self.first_out = None;
        }
        self.strikes.remove(&id).is_some()
    }

    fn log_in(&mut self) -> Step {
        self.number = self.number.saturating_add(1);
        self.phase = Phase::LoggingIn;
        Step::LogIn
    }
}

#[cfg(test)]
mod tests;
