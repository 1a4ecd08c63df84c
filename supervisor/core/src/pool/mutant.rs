//! Ways in which the pool could be subtly wrong. The simulator's tests switch
//! them on one by one, to show that each would be found. In a build that is not
//! a test none of them exists: [`Pool::is`] is then `false`, a constant.

use super::Pool;
use super::slot::{Slot, State};

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Word from a process that is gone is taken for word from its successor.
    NoGenerationCheck,
    /// The end of the channel is taken for the end of the process.
    RequeueBeforeReap,
    /// The end of the process is taken for the end of what it has said.
    RequeueBeforeEof,
    /// A worker that was told to end is taken for dead.
    RequeueBeforeDeath,
    /// Whatever was in flight gets the attempt.
    BlameAll,
    /// Nothing ever does.
    BlameNobody,
    /// A worker that we ended for another reason is taken for one that crashed.
    OwnKillBlames,
    /// A target past its deadline is blamed on whatever stage is running.
    BlameWhatRunsForWhatIsLate,
    /// However often a target ends its worker, it gets another one.
    NeverQuarantine,
    /// A failure that may pass is final.
    ForgetRetry,
    /// A finished target keeps its host's permit.
    KeepPermit,
    /// Slices are sent whether or not the last ones were read.
    NoCreditCheck,
    /// A worker may take for ever to get ready.
    NoHandshakeDeadline,
    /// SIGTERM is never followed by SIGKILL.
    NeverSterner,
    /// A channel that somebody else holds open is waited for.
    WaitForEofForEver,
    /// Nobody looks at the black boxes.
    NoHangCheck,
    /// Workers are called hung when it was we who did not listen.
    CallOurSlownessAHang,
    /// A drain or a kill stops nothing.
    IgnoreStop,
    /// A dead worker's slot is filled again at once.
    NoBackoff,
    /// However many workers die at once, there will be more.
    NeverGiveUp,
    /// A worker that is to be replaced is drained before its replacement is ready.
    DrainBeforeReady,
    /// While one worker is replaced, so is another.
    TwoRecyclesAtOnce,
    /// What a recycled worker had not begun is not handed out again.
    LoseWorkAtRecycle,
    /// A recycled worker's end is taken for a crash.
    BlameTheRecycled,
    /// A recycle is counted as a restart.
    CountRecycleAsRestart,
    /// A replacement that does not start takes the old one with it.
    CallOffEndsTheOld,
    /// The last worker can be taken away.
    ShrinkToNone,
    /// The frontier's time is waited for although no worker has room.
    SpinWithoutRoom,
}

impl Pool {
    /// Whether this pool is wrong in this way: never, except in the simulator's own tests.
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

    /// Whether what is overdue here is overlooked.
    pub(super) fn overlooks(&self, slot: &Slot) -> bool {
        match slot.state {
            State::Spawning(_) | State::Handshaking(_) => self.is(Mutant::NoHandshakeDeadline),
            State::Terminating(_) | State::Killing(_) if slot.death.is_some() => {
                self.is(Mutant::WaitForEofForEver)
            }
            State::Terminating(_) | State::Killing(_) => self.is(Mutant::NeverSterner),
            State::Serving | State::Draining(_) | State::Backoff(_) | State::Stopped | State::Failed => false,
        }
    }
}
