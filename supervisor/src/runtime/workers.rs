//! Where the worker processes of a run come from: started when needed, or taken from the spares of the service.

use std::io;
use std::path::{Path, PathBuf};

use supervisor_core::pool::Seat;

use super::cgroup::Leaves;
use super::channel::Listener;
use super::locate::{self, NoWorker};
use super::process::Process;
use super::sockets::{self, NoSockets};
use super::spares::Spares;

/// Why there can be no workers.
#[derive(Debug, thiserror::Error)]
pub enum NoWorkers {
    /// There is no worker executable.
    #[error(transparent)]
    Executable(#[from] NoWorker),
    /// There is no directory for the workers' sockets.
    #[error(transparent)]
    Sockets(#[from] NoSockets),
}

/// A source of worker processes.
#[derive(Debug, Clone)]
pub struct Workers {
    executable: PathBuf,
    spares: Option<Spares>,
    leaves: Option<Leaves>,
}

impl Workers {
    /// Each worker is started when it is needed, by the thread that needs it, and ends with that thread at the
    /// latest.
    ///
    /// # Errors
    /// [`NoWorkers`] if none could be started.
    pub fn find() -> Result<Self, NoWorkers> {
        Self::at(locate::worker()?)
    }

    /// The same, with another executable.
    ///
    /// # Errors
    /// [`NoWorkers`] if there is no directory for the workers' sockets.
    pub fn at(executable: PathBuf) -> Result<Self, NoWorkers> {
        sockets::prepare()?;
        Ok(Self { executable, spares: None, leaves: None })
    }

    /// The same, each in a cgroup of its own.
    #[must_use]
    pub fn in_leaves(self, leaves: Leaves) -> Self {
        Self { leaves: Some(leaves), ..self }
    }

    /// The same, but spares come first, and the thread of the spares starts all workers.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn with_spares(self) -> io::Result<(Self, Spares)> {
        let spares = Spares::start(self.executable.clone(), self.leaves.clone())?;
        Ok((Self { spares: Some(spares.clone()), ..self }, spares))
    }

    /// Returns the executable, for messages.
    pub(super) fn executable(&self) -> &Path {
        &self.executable
    }

    /// Returns a process for `seat`.
    pub(super) fn take(&self, seat: Seat, listener: Listener) -> io::Result<Process> {
        let mut process = match &self.spares {
            Some(spares) => spares.take()?,
            None => Process::start(&self.executable, Some(seat.slot))?,
        };
        process.adopt(seat, listener);
        Ok(process)
    }
}
