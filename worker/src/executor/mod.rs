//! Runs targets as the mode says: one at a time on this thread, or many
//! interleaved on an event loop. Both feed the same pipeline and outbox.

mod blocking;
mod event_loop;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use shared::black_box::BlackBox;
use shared::job::{Executor, JobSpec};
use shared::protocol::{Target, ToWorker};

use crate::connection::Receiver;
use crate::outbox::{Credit, Outbox};
use crate::stage::Pipeline;

/// What an executor works with.
pub(crate) struct Worker {
    pub(crate) pipeline: Pipeline,
    pub(crate) outbox: Outbox,
    pub(crate) black_box: Arc<BlackBox>,
}

/// Runs until drained; a supervisor that hangs up ends the process.
pub(crate) fn run(mut worker: Worker, job: &JobSpec, receiver: Receiver) -> anyhow::Result<()> {
    let draining = Arc::new(AtomicBool::new(false));
    let credit = worker.outbox.credit();
    match job.executor {
        Executor::Blocking => {
            let (targets, queue) = crossbeam_channel::unbounded();
            read_in_background(receiver, credit, Arc::clone(&draining), move |target| {
                targets.send(target).is_ok()
            })?;
            blocking::run(&mut worker, &queue, &draining);
        }
        Executor::EventLoop => {
            let (targets, queue) = tokio::sync::mpsc::unbounded_channel();
            read_in_background(receiver, credit, Arc::clone(&draining), move |target| {
                targets.send(target).is_ok()
            })?;
            return event_loop::run(worker, job.concurrency, queue, draining);
        }
    }
    worker.outbox.close();
    Ok(())
}

/// Reads slices on a thread of its own. What it queues is bounded by the
/// supervisor's credit. Dropping `deliver` tells the executor that no more will come.
fn read_in_background(
    mut receiver: Receiver,
    credit: Credit,
    draining: Arc<AtomicBool>,
    mut deliver: impl FnMut(Target) -> bool + Send + 'static,
) -> std::io::Result<()> {
    thread::Builder::new().name("inbox".to_owned()).spawn(move || {
        loop {
            match receiver.receive() {
                Ok(Some(ToWorker::Slice(slice))) => {
                    credit.slice_read();
                    for target in slice.targets {
                        if !deliver(target) {
                            return;
                        }
                    }
                }
                Ok(Some(ToWorker::Drain)) => {
                    draining.store(true, Ordering::Release);
                    break;
                }
                Ok(Some(ToWorker::Job(_))) | Ok(None) | Err(_) => leave(),
            }
        }
        drop(deliver);
        // The executor finishes what it has begun; should the supervisor end meanwhile, so do we.
        while let Ok(Some(_)) = receiver.receive() {}
        leave();
    })?;
    Ok(())
}

/// Ends the process: there is nobody left to work for, and the executor may be
/// deep inside a request that could take half a minute more.
#[expect(
    clippy::exit,
    reason = "the other threads may be blocked for long, and nothing they hold is worth keeping"
)]
fn leave() -> ! {
    std::process::exit(0)
}
