//! Many targets interleaved on one thread: a current-thread event loop with up to as
//! many lanes as the job's concurrency. A lane takes a target, waits for the
//! network together with all the others, and computes while they wait.
//!
//! A lane is started when a target is there and no lane is free to take it. The concurrency may be all that this
//! machine can hold, and most jobs need far fewer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::protocol::Target;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Mutex, Notify};
use tokio::task::{JoinSet, LocalSet};

use super::alarm::sleep_until;
use super::{Worker, start};
use crate::stage::Interleaved;

/// How often the loop shows that it turns. A hung loop is found by its absence.
const HEARTBEAT: Duration = Duration::from_secs(1);

struct Lanes<S> {
    worker: Worker,
    stage: S,
    /// Locked by the one lane that waits for the next target.
    queue: Mutex<UnboundedReceiver<Target>>,
    draining: Arc<AtomicBool>,
    /// Lanes that wait for a target.
    free: Cell<u32>,
    /// Wakes the starter of lanes: the last free one has taken a target.
    wanted: Notify,
    in_flight: Cell<u64>,
    /// Shared by all lanes: encoding a record never waits, so one buffer serves.
    line: RefCell<Vec<u8>>,
}

/// Does `queue`, until the reader has dropped its end and every lane is done.
pub(super) fn run(
    worker: Worker,
    stage: impl Interleaved + 'static,
    concurrency: u32,
    queue: UnboundedReceiver<Target>,
    draining: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lanes = Rc::new(Lanes {
        worker,
        stage,
        queue: Mutex::new(queue),
        draining,
        free: Cell::new(0),
        wanted: Notify::new(),
        in_flight: Cell::new(0),
        line: RefCell::new(Vec::new()),
    });
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let heart = tokio::task::spawn_local(beat(Rc::clone(&lanes)));
        let mut running = JoinSet::new();
        running.spawn_local(lane(Rc::clone(&lanes)));
        let mut started = 1;
        loop {
            tokio::select! {
                ended = running.join_next() => match ended {
                    Some(ended) => ended?,
                    None => break,
                },
                () = lanes.wanted.notified(), if started < concurrency => {
                    running.spawn_local(lane(Rc::clone(&lanes)));
                    started += 1;
                }
            }
        }
        heart.abort();
        // Its handle on the lanes goes with it.
        let _ = heart.await;
        anyhow::Ok(())
    })?;
    drop(local);
    if let Some(lanes) = Rc::into_inner(lanes) {
        lanes.worker.close();
    }
    Ok(())
}

async fn lane(lanes: Rc<Lanes<impl Interleaved>>) {
    let (worker, stage) = (&lanes.worker, &lanes.stage);
    let context = &worker.context;
    loop {
        lanes.free.set(lanes.free.get() + 1);
        let next = lanes.queue.lock().await.recv().await;
        lanes.free.set(lanes.free.get() - 1);
        let Some(target) = next else { return };
        if lanes.free.get() == 0 {
            lanes.wanted.notify_one();
        }
        if lanes.draining.load(Ordering::Acquire) {
            // Not begun: the supervisor takes it back when this process ends.
            continue;
        }
        worker.room().await;
        if let Some(start) = start(&target) {
            sleep_until(start).await;
        }
        lanes.count(1);
        let answer = stage.wait(context, &target).await;
        if let Some(why) = context.hopeless() {
            lanes.count(-1);
            // Once: the other lanes give up their targets as well. None of them is computed any more, so that none is
            // to blame when the supervisor ends this process.
            if !lanes.draining.swap(true, Ordering::AcqRel) {
                worker.outbox.voice().give_up(why.to_owned());
            }
            continue;
        }
        let mut line = lanes.line.borrow_mut();
        line.clear();
        let computed = stage.compute(context, &target, answer, &mut line);
        lanes.count(-1);
        let idle = lanes.in_flight.get() == 0;
        worker.deliver(computed, &line, idle);
    }
}

impl<S> Lanes<S> {
    fn count(&self, change: i64) {
        self.in_flight.set(self.in_flight.get().saturating_add_signed(change));
        self.worker.context.black_box.set_in_flight(self.in_flight.get());
    }
}

async fn beat<S>(lanes: Rc<Lanes<S>>) {
    let mut beats = tokio::time::interval(HEARTBEAT);
    loop {
        beats.tick().await;
        lanes.worker.context.black_box.advance();
    }
}
