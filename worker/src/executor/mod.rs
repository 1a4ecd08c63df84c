//! Runs targets as the mode says: one at a time on this thread, or many
//! interleaved on an event loop. Both feed the same pipeline and outbox.

mod blocking;
mod event_loop;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use shared::black_box::BlackBox;
use shared::job::{Executor, JobSpec, Work};
use shared::protocol::{Outcome, Target, ToWorker, Verdict};
use shared::table::Delimited;

use crate::connection::Receiver;
use crate::outbox::{Credit, Outbox};
use crate::stage::Pipeline;
use crate::stage::map::{self, Giver, Item};

/// What an executor works with.
pub(crate) struct Worker {
    pub(crate) pipeline: Pipeline,
    pub(crate) outbox: Outbox,
    pub(crate) black_box: Arc<BlackBox>,
    /// Where records go on to, if they do: the user's program.
    pub(crate) then: Option<Then>,
    /// How records that do not go on are written, if as rows.
    pub(crate) rows: Option<Delimited>,
}

/// The user's program behind an executor, kept going by a thread of its own.
pub(crate) struct Then {
    giver: Giver,
    driver: JoinHandle<()>,
}

impl Worker {
    /// One target is done here: its record goes on to the program, or out.
    pub(crate) fn deliver(&self, outcome: Outcome, line: &[u8], idle: bool) {
        match &self.then {
            Some(then) if outcome.verdict == Verdict::Ok => {
                then.giver.give([Item::Record(outcome, line.to_vec())]);
            }
            Some(_) | None => match &self.rows {
                None => self.outbox.push(outcome, line, idle),
                Some(rows) => {
                    let mut row = line.to_vec();
                    rows.replace(&mut row, 0);
                    let outcome = Outcome { line_bytes: row.len() as u64, ..outcome };
                    self.outbox.push(outcome, &row, idle);
                }
            },
        }
    }

    /// Blocks until there is room for more.
    pub(crate) fn wait_for_room(&self) {
        self.outbox.wait_for_room(&self.black_box);
        if let Some(then) = &self.then {
            then.giver.wait_for_room(&self.black_box);
        }
    }

    /// Completes when there is room for more.
    pub(crate) async fn room(&self) {
        self.outbox.room().await;
        if let Some(then) = &self.then {
            then.giver.room().await;
        }
    }

    /// Waits for the program's last answers, and for all records to be on their way.
    pub(crate) fn close(self) {
        if let Some(Then { giver, driver }) = self.then {
            giver.close(false);
            // One that panicked has told why; what it held goes back with this process.
            let _ = driver.join();
        }
        self.outbox.close();
    }
}

/// What the reader thread hands on.
enum Delivery {
    Targets(Vec<Target>),
    /// Nothing is to follow for now.
    Flush,
    /// What has not begun is not wanted any more.
    Drain,
}

/// Runs until drained; a supervisor that hangs up ends the process.
pub(crate) fn run(mut worker: Worker, job: &JobSpec, receiver: Receiver) -> anyhow::Result<()> {
    let credit = worker.outbox.credit();
    if let Work::Map(spec) = &job.work {
        let (giver, driver) = map::prepare(job, spec, worker.outbox.voice(), Arc::clone(&worker.black_box))?;
        read_in_background(receiver, credit, move |delivery| {
            match delivery {
                Delivery::Targets(targets) => giver.give(targets.into_iter().map(Item::Lines)),
                Delivery::Flush => giver.flush(),
                Delivery::Drain => giver.close(true),
            }
            true
        })?;
        driver.run();
        worker.close();
        return Ok(());
    }
    if let Some(spec) = &job.then {
        let (giver, driver) = map::prepare(job, spec, worker.outbox.voice(), Arc::clone(&worker.black_box))?;
        let driver = thread::Builder::new().name("program".to_owned()).spawn(move || driver.run())?;
        worker.then = Some(Then { giver, driver });
    }
    let draining = Arc::new(AtomicBool::new(false));
    let drains = Arc::clone(&draining);
    match job.executor {
        Executor::Blocking => {
            let (targets, queue) = crossbeam_channel::unbounded();
            let deliver = one_by_one(drains, move |target| targets.send(target).is_ok());
            read_in_background(receiver, credit, deliver)?;
            blocking::run(&mut worker, &queue, &draining);
        }
        Executor::EventLoop => {
            let (targets, queue) = tokio::sync::mpsc::unbounded_channel();
            let deliver = one_by_one(drains, move |target| targets.send(target).is_ok());
            read_in_background(receiver, credit, deliver)?;
            return event_loop::run(worker, job.concurrency, queue, draining);
        }
    }
    worker.close();
    Ok(())
}

/// Hands targets on one by one, and takes note of a drain. There is nobody to flush: the
/// program behind an executor gets its records as they are made.
fn one_by_one(
    draining: Arc<AtomicBool>,
    mut send: impl FnMut(Target) -> bool + Send + 'static,
) -> impl FnMut(Delivery) -> bool + Send + 'static {
    move |delivery| match delivery {
        Delivery::Targets(targets) => targets.into_iter().all(&mut send),
        Delivery::Flush => true,
        Delivery::Drain => {
            draining.store(true, Ordering::Release);
            true
        }
    }
}

/// Reads slices on a thread of its own. What it queues is bounded by the
/// supervisor's credit. Dropping `deliver` tells the executor that no more will come.
fn read_in_background(
    mut receiver: Receiver,
    credit: Credit,
    mut deliver: impl FnMut(Delivery) -> bool + Send + 'static,
) -> std::io::Result<()> {
    thread::Builder::new().name("inbox".to_owned()).spawn(move || {
        loop {
            match receiver.receive() {
                Ok(Some(ToWorker::Slice(slice))) => {
                    credit.slice_read();
                    if !deliver(Delivery::Targets(slice.targets)) {
                        return;
                    }
                }
                Ok(Some(ToWorker::Flush)) => {
                    if !deliver(Delivery::Flush) {
                        return;
                    }
                }
                Ok(Some(ToWorker::Drain)) => {
                    deliver(Delivery::Drain);
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
