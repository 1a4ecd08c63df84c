//! Deliberate bugs in the pool. The simulator's tests enable them one by one to prove that each
//! would be found. Outside test builds none of them exists: [`Pool::is`] is then the constant
//! `false`.

use super::Pool;
use super::slot::{Slot, State};

/// One deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A message from a dead process is attributed to its successor.
    NoGenerationCheck,
    /// The end of the channel counts as the end of the process.
    RequeueBeforeReap,
    /// The end of the process counts as the end of its messages.
    RequeueBeforeEof,
    /// A worker that was told to end counts as dead.
    RequeueBeforeDeath,
    /// Every target in flight is charged with the attempt.
    BlameAll,
    /// No target is ever charged.
    BlameNone,
    /// A worker that the supervisor ended for another reason counts as crashed.
    OwnKillBlames,
    /// A target past its deadline is blamed on the stage that is running.
    BlameRunningForOverdue,
    /// A target is retried however often it kills its worker.
    NeverQuarantine,
    /// A failure that may be temporary is final.
    ForgetRetry,
    /// A finished target keeps its host's permit.
    KeepPermit,
    /// Slices are sent whether or not the earlier ones were read.
    NoCreditCheck,
    /// A worker may take for ever to become ready.
    NoHandshakeDeadline,
    /// SIGTERM is never followed by SIGKILL.
    NeverEscalate,
    /// The pool waits for ever for a channel that another process holds open.
    WaitForEofForever,
    /// Black boxes are never sampled.
    NoHangCheck,
    /// Workers are called hung when the supervisor did not read their messages.
    BlameOwnDelay,
    /// A drain or a kill has no effect.
    IgnoreStop,
    /// A dead worker's slot is filled again at once.
    NoBackoff,
    /// The pool keeps restarting workers however many die.
    NeverGiveUp,
    /// A worker is drained before its replacement is ready.
    DrainBeforeReady,
    /// Two workers are replaced at the same time.
    TwoRecyclesAtOnce,
    /// What a recycled worker had not begun is not handed out again.
    LoseWorkAtRecycle,
    /// A recycled worker's end counts as a crash.
    BlameTheRecycled,
    /// A recycle counts as a restart.
    CountRecycleAsRestart,
    /// A replacement that does not start ends the worker it was to replace.
    FailedReplacementEndsOld,
    /// The last worker can be removed.
    ShrinkToNone,
    /// The pool waits for the frontier although no worker has room.
    SpinWithoutRoom,
}

impl Pool {
    /// Whether this pool has this bug: never, except in the simulator's own tests.
    #[inline]
    pub(super) fn is(&self, mutant: Mutant) -> bool {
        #[cfg(test)]
        return self.mutant == Some(mutant);
        #[cfg(not(test))]
        {
            let _ = mutant;
            false
        }
    }

    /// Whether an overdue slot is ignored because of a bug.
    pub(super) fn overlooks(&self, slot: &Slot) -> bool {
        match slot.state {
            State::Spawning(_) | State::Handshaking(_) => self.is(Mutant::NoHandshakeDeadline),
            State::Terminating(_) | State::Killing(_) if slot.death.is_some() => {
                self.is(Mutant::WaitForEofForever)
            }
            State::Terminating(_) | State::Killing(_) => self.is(Mutant::NeverEscalate),
            State::Serving | State::Draining(_) | State::Backoff(_) | State::Stopped | State::Failed => false,
        }
    }
}
