//! Runs a stage on its targets as the mode says: one at a time on this thread, or many
//! interleaved on an event loop. Both write to the same outbox.

mod alarm;
mod blocking;
mod event_loop;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use shared::clock;
use shared::job::{Executor, JobSpec};
use shared::protocol::{Target, ToWorker};

use crate::connection::Receiver;
use crate::outbox::{Credit, Outbox};
use crate::stage::map::{Giver, Item, Map};
use crate::stage::{Blocking, ByClient, Computed, Context, Cookies, Interleaved, Notes, Stage};

/// What an executor works with.
pub(crate) struct Worker {
    pub(crate) context: Context,
    pub(crate) outbox: Outbox,
    /// The cookies, if the job keeps them.
    pub(crate) cookies: Option<Cookies>,
    /// What an earlier run has noted of pages, if they are compared with it.
    pub(crate) notes: Option<Notes>,
    /// Where records go on to, if they do: the user's program.
    pub(crate) then: Option<Then>,
}

/// What the supervisor sends besides targets, and who takes it in.
#[derive(Default)]
struct TakenIn {
    cookies: Option<Cookies>,
    notes: Option<Notes>,
}

/// The user's program behind an executor, kept going by a thread of its own.
pub(crate) struct Then {
    giver: Giver,
    driver: JoinHandle<()>,
}

impl Worker {
    fn taken_in(&self) -> TakenIn {
        TakenIn { cookies: self.cookies.clone(), notes: self.notes.clone() }
    }

    /// One target is done here: its record goes on to the program, or out.
    pub(crate) fn deliver(&self, computed: Computed, line: &[u8], idle: bool) {
        let Computed { outcome, begun } = computed;
        if let Some(cookies) = &self.cookies {
            let (session, changes) = cookies.changes();
            self.outbox.push_cookies(session, changes);
        }
        match (&self.then, begun) {
            (Some(then), Some(begun)) => {
                then.giver.give([Item::Record(outcome, line.to_vec(), begun)]);
            }
            (Some(_) | None, _) => self.outbox.push(outcome, line, idle),
        }
    }

    /// Blocks until there is room for more.
    pub(crate) fn wait_for_room(&self) {
        self.outbox.wait_for_room(&self.context.black_box);
        if let Some(then) = &self.then {
            then.giver.wait_for_room(&self.context.black_box);
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
            // If it panicked, it has said why; what it held goes back when this process ends.
            let _ = driver.join();
        }
        self.outbox.close();
    }
}

/// Returns the instant before which the target must not start, unless it has passed.
fn start(target: &Target) -> Option<Instant> {
    let wait_us = target.not_before_us?.checked_sub(clock::monotonic_us())?;
    Some(clock::now() + Duration::from_micros(wait_us))
}

/// What the reader thread hands on.
enum Delivery {
    Targets(Vec<Target>),
    /// Nothing follows for now.
    Flush,
    /// Targets that have not begun are no longer wanted.
    Drain,
}

/// Runs until drained; a supervisor that hangs up ends the process.
pub(crate) fn run(mut worker: Worker, stage: Stage, job: &JobSpec, receiver: Receiver) -> anyhow::Result<()> {
    if let Some(spec) = &job.then {
        let (giver, driver) = Map::new(spec, job).start(&worker.outbox, &worker.context.black_box)?;
        let driver = thread::Builder::new().name("program".to_owned()).spawn(move || driver.run())?;
        worker.then = Some(Then { giver, driver });
    }
    match stage {
        Stage::Fetch(ByClient::Blocking(stage)) => run_blocking(worker, *stage, receiver),
        Stage::Fetch(ByClient::EventLoop(stage)) => run_interleaved(worker, *stage, job, receiver),
        Stage::Sitemap(ByClient::Blocking(stage)) => run_blocking(worker, *stage, receiver),
        Stage::Sitemap(ByClient::EventLoop(stage)) => run_interleaved(worker, *stage, job, receiver),
        Stage::Parse(stage) => run_either(worker, *stage, job, receiver),
        Stage::Csv(stage) => run_either(worker, *stage, job, receiver),
        Stage::Map(map) => run_program(worker, &map, receiver),
    }
}

fn run_either(
    worker: Worker,
    stage: impl Blocking + Interleaved + 'static,
    job: &JobSpec,
    receiver: Receiver,
) -> anyhow::Result<()> {
    match job.executor {
        Executor::Blocking => run_blocking(worker, stage, receiver),
        Executor::EventLoop => run_interleaved(worker, stage, job, receiver),
    }
}

fn run_blocking(worker: Worker, mut stage: impl Blocking, receiver: Receiver) -> anyhow::Result<()> {
    let draining = Arc::new(AtomicBool::new(false));
    let (targets, queue) = crossbeam_channel::unbounded();
    let deliver = one_by_one(Arc::clone(&draining), move |target| targets.send(target).is_ok());
    read_in_background(receiver, worker.outbox.credit(), worker.taken_in(), deliver)?;
    blocking::run(&worker, &mut stage, &queue, &draining);
    worker.close();
    Ok(())
}

fn run_interleaved(
    worker: Worker,
    stage: impl Interleaved + 'static,
    job: &JobSpec,
    receiver: Receiver,
) -> anyhow::Result<()> {
    let draining = Arc::new(AtomicBool::new(false));
    let (targets, queue) = tokio::sync::mpsc::unbounded_channel();
    let deliver = one_by_one(Arc::clone(&draining), move |target| targets.send(target).is_ok());
    read_in_background(receiver, worker.outbox.credit(), worker.taken_in(), deliver)?;
    event_loop::run(worker, stage, job.concurrency, queue, draining)
}

/// Gives blocks of lines to the user's program as they come, and keeps it going on this thread.
fn run_program(worker: Worker, map: &Map, receiver: Receiver) -> anyhow::Result<()> {
    let (giver, driver) = map.start(&worker.outbox, &worker.context.black_box)?;
    read_in_background(receiver, worker.outbox.credit(), TakenIn::default(), move |delivery| {
        match delivery {
            Delivery::Targets(targets) => giver.give(targets.into_iter().map(Item::Lines)),
            Delivery::Flush => giver.flush(),
            Delivery::Drain => giver.close(true),
        }
        true
    })?;
    driver.run();
    worker.close();
    Ok(())
}

/// Passes targets on one by one, and notes a drain. There is nothing to flush: the
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
    taken_in: TakenIn,
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
                Ok(Some(ToWorker::Cookies(update))) => {
                    if let Some(cookies) = &taken_in.cookies {
                        cookies.take_in(update);
                    }
                }
                Ok(Some(ToWorker::Notes(notes))) => {
                    if let Some(known) = &taken_in.notes {
                        known.take_in(notes);
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
