//! The four ways to use processes and waiting.

use serde::{Deserialize, Serialize};

/// How a run uses processes and waiting. The user can choose it with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One worker, one target at a time, blocking.
    Sequential,
    /// One worker with an event loop that interleaves many waits.
    Concurrent,
    /// One worker per CPU, one blocking target each.
    Parallel,
    /// One worker per CPU, an event loop in each.
    Both,
}

impl Mode {
    /// Every mode, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Sequential, Self::Concurrent, Self::Parallel, Self::Both];

    /// The name used on the command line and in the summary.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Concurrent => "concurrent",
            Self::Parallel => "parallel",
            Self::Both => "both",
        }
    }

    /// The executor that a worker runs in this mode.
    #[must_use]
    pub const fn executor(self) -> Executor {
        match self {
            Self::Sequential | Self::Parallel => Executor::Blocking,
            Self::Concurrent | Self::Both => Executor::EventLoop,
        }
    }

    /// Whether this mode runs more than one worker.
    #[must_use]
    pub const fn many_workers(self) -> bool {
        matches!(self, Self::Parallel | Self::Both)
    }
}

/// How one worker runs its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Executor {
    /// One target at a time on the blocking client.
    Blocking,
    /// Many targets interleaved on a current-thread event loop.
    EventLoop,
}
