//! Where a run's worker processes come from: started when they are needed, or taken from the service's spares.

use std::io;
use std::path::{Path, PathBuf};

use crossbeam_channel::Sender;
use supervisor_core::pool::Seat;

use super::cgroup::Leaves;
use super::channel::Heard;
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
    /// There is no place for the workers' sockets.
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
    /// Each is started when it is needed, by the thread that needs it, and ends with that thread at the latest.
    ///
    /// # Errors
    /// [`NoWorkers`] when none could be started.
    pub fn find() -> Result<Self, NoWorkers> {
        Self::at(locate::worker()?)
    }

    /// The same, with another executable.
    ///
    /// # Errors
    /// [`NoWorkers`] when there is no place for the workers' sockets.
    pub fn at(executable: PathBuf) -> Result<Self, NoWorkers> {
        sockets::prepare()?;
        Ok(Self { executable, spares: None, leaves: None })
    }

    /// The same, each in a cgroup of its own.
    #[must_use]
    pub fn in_leaves(self, leaves: Leaves) -> Self {
        Self { leaves: Some(leaves), ..self }
    }

    /// The same, but spares come first, and all are started by the spares' own thread.
    ///
    /// # Errors
    /// When there is no thread for them.
    pub fn with_spares(self) -> io::Result<(Self, Spares)> {
        let spares = Spares::start(self.executable.clone(), self.leaves.clone())?;
        Ok((Self { spares: Some(spares.clone()), ..self }, spares))
    }

    /// The executable, for messages.
    pub(super) fn executable(&self) -> &Path {
        &self.executable
    }

    /// A process for `seat`, which is heard from through `heard`.
    pub(super) fn take(&self, seat: Seat, heard: Sender<Heard>) -> io::Result<Process> {
        let mut process = match &self.spares {
            Some(spares) => spares.take()?,
            None => Process::start(&self.executable, Some(seat.slot))?,
        };
        process.adopt(seat, heard);
        Ok(process)
    }
}
