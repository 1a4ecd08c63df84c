//! One target at a time, on this thread, with blocking calls.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Receiver;
use shared::protocol::Target;

use super::Worker;

/// Works off `queue` until the reader has dropped its end.
pub(super) fn run(worker: &mut Worker, queue: &Receiver<Target>, draining: &AtomicBool) {
    let mut line = Vec::new();
    for target in queue {
        if draining.load(Ordering::Acquire) {
            // Not begun: the supervisor takes it back when this process ends.
            continue;
        }
        worker.wait_for_room();
        line.clear();
        worker.black_box.set_in_flight(1);
        let outcome = worker.pipeline.run_blocking(&target, &mut line);
        worker.black_box.set_in_flight(0);
        if let Some(why) = worker.pipeline.hopeless() {
            return worker.outbox.voice().give_up(why.to_owned());
        }
        worker.deliver(outcome, &line, queue.is_empty());
    }
}
