//! What the state loop hears from the threads that work for it.

use crossbeam_channel::Sender;
use shared::job::Mode;
use supervisor_core::pool::Notice;

use super::ask::{Refused, Submitted};
use super::at_work::{How, Sight};
use super::clerk::Prepared;
use crate::runtime::Told;
use crate::view::{JobId, JobView};

/// One piece of news.
#[derive(Debug)]
pub(super) enum News {
    /// A pool of this job began, in this mode, with a use for so many workers.
    Began(JobId, Mode, u32),
    /// It has so many processes now.
    Processes(JobId, u32),
    /// How far it is.
    Seen(JobId, Box<Sight>),
    /// A line for a person.
    Said(JobId, Notice),
    /// It is over; its directory has so many bytes.
    Ended(JobId, Box<How>, u64),
    /// A job is ready to be taken in, or is refused.
    Prepared(Result<Box<Prepared>, Refused>, Reply),
    /// The system told this process.
    Told(Told),
}

/// Who waits for the job to be taken in.
#[derive(Debug)]
pub(super) enum Reply {
    /// Whoever submitted it.
    Submitted(Sender<Result<Submitted, Refused>>),
    /// Whoever wants failed inputs to be tried again.
    Retried(Sender<Result<JobView, Refused>>),
}

impl Reply {
    /// Nothing comes of it.
    pub(super) fn refuse(self, why: Refused) {
        // Whoever asked may be gone.
        match self {
            Self::Submitted(reply) => drop(reply.send(Err(why))),
            Self::Retried(reply) => drop(reply.send(Err(why))),
        }
    }

    /// It is taken in, or was before.
    pub(super) fn accept(self, job: JobView, known: bool) {
        match self {
            Self::Submitted(reply) => drop(reply.send(Ok(Submitted { job, known }))),
            Self::Retried(reply) => drop(reply.send(Ok(job))),
        }
    }
}
