//! Names for what sits where: a slot is a seat in the pool, a generation the
//! nth process in it. Every event carries both, so that word from a process
//! that is gone is never taken for word from its successor.

use std::fmt;

/// One process's place in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat {
    /// Which slot, from 0.
    pub slot: u32,
    /// Which process in it, from 1.
    pub generation: u32,
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.slot)?;
        if self.generation > 1 { write!(f, " (start {})", self.generation) } else { Ok(()) }
    }
}

/// How far a process is, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not ready yet.
    Starting,
    /// Ready, and nothing to do.
    Idle,
    /// At work.
    Busy,
    /// It finishes what it has begun, or is ended.
    Leaving,
}

/// How a process ended, as `waitpid` told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
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

/// The name of a signal that ends processes (`SIGSEGV`), if it has one.
#[must_use]
pub fn signal_name(number: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(number).ok().map(nix::sys::signal::Signal::as_str)
}

/// What was found when a process was reaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// How it ended.
    pub exit: Exit,
    /// The last word of its black box.
    pub reading: wire::black_box::Reading,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}
