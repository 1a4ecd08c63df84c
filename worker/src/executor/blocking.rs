//! One target at a time, on this thread, with blocking calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::Receiver;
use shared::clock;
use shared::protocol::Target;

use super::{Worker, start};
use crate::stage::Blocking;

/// Blocks this thread until `at`.
fn wait_until(at: Instant) {
    while let left = at.saturating_duration_since(clock::now())
        && !left.is_zero()
    {
        thread::park_timeout(left);
    }
}

/// Does `queue`, until the reader has dropped its end.
pub(super) fn run(
    worker: &Worker,
    stage: &mut impl Blocking,
    queue: &Receiver<Target>,
    draining: &AtomicBool,
) {
    let context = &worker.context;
    let mut line = Vec::new();
    for target in queue {
        if draining.load(Ordering::Acquire) {
            // Not begun: the supervisor takes it back when this process ends.
            continue;
        }
        worker.wait_for_room();
        if let Some(start) = start(&target) {
            wait_until(start);
        }
        line.clear();
        context.black_box.set_in_flight(1);
        let answer = stage.wait(context, &target);
        let computed = stage.compute(context, &target, answer, &mut line);
        context.black_box.set_in_flight(0);
        if let Some(why) = context.hopeless() {
            return worker.outbox.voice().give_up(why.to_owned());
        }
        worker.deliver(computed, &line, queue.is_empty());
    }
}
