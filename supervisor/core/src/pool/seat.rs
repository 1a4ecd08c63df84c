//! Identifies processes: a slot is a seat in the pool, a generation the nth process in it. Every
//! event carries both, so that a message from a dead process is never attributed to its successor.

use std::fmt;

use wire::black_box::Begun;

/// One process in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat {
    /// The slot, from 0.
    pub slot: u32,
    /// The process in that slot, from 1.
    pub generation: u32,
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.slot)?;
        if self.generation > 1 { write!(f, " (start {})", self.generation) } else { Ok(()) }
    }
}

/// The state of a process, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not ready yet.
    Starting,
    /// Ready, with nothing to do.
    Idle,
    /// At work.
    Busy,
    /// Finishing what it has begun, or being ended.
    Leaving,
}

/// How a process ended, as reported by `waitpid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal {number}"),
            },
        }
    }
}

/// Returns the name of a signal that ends processes (`SIGSEGV`), if it has one.
#[must_use]
pub fn signal_name(number: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(number).ok().map(nix::sys::signal::Signal::as_str)
}

/// What is known about a process when it is reaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// How it ended.
    pub exit: Exit,
    /// The final contents of its black box.
    pub reading: wire::black_box::Reading,
    /// Targets of which something may have been sent, if they must not be sent twice.
    pub begun: Begun,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}
