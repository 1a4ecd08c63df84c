//! What the system asks for: stop, renew, more or fewer workers.

use std::time::Duration;

use crate::runtime::{Steering, Told};

use super::StateLoop;
use super::job::After;

/// What systemd is told that stopping may take: more than any job's own grace. It is no promise to
/// take as long; every job ends itself after its own.
const STOPPING_MAX: Duration = Duration::from_secs(120);

impl StateLoop {
    pub(super) fn told(&mut self, told: Told) {
        match told {
            // The runs are told without us.
            Told::Child => {}
            Told::Stop(signal) => self.stop(signal),
            Told::Renew => self.renew(),
            // Out of range: then that is that.
            Told::Grow => drop(self.scale(Some(self.workers + 1))),
            Told::Shrink => drop(self.scale(Some(self.workers - 1))),
        }
    }

    /// The first time, jobs finish what is in flight and go on at the next start; the second time,
    /// they stop at once, and what was in flight is done again.
    fn stop(&mut self, signal: i32) {
        let name = crate::pool::signal_name(signal).unwrap_or("a signal");
        let running: Vec<_> = self.jobs.values().filter(|job| job.live.is_some()).collect();
        if self.stopping {
            tracing::warn!("{name} again: stopping at once");
            for live in running.iter().filter_map(|job| job.live.as_ref()) {
                // It may be over already, and its last word on the way.
                let _ = live.controller.stop(signal);
            }
            return;
        }
        tracing::info!(running = running.len(), "{name}: finishing what is in flight");
        self.notify.stopping("finishing what is in flight", STOPPING_MAX);
        self.stopping = true;
        let undrained: Vec<_> =
            running.iter().filter(|job| !job.is_leaving()).map(|job| job.kept.id).collect();
        for id in undrained {
            self.drain(id, After::Queue);
        }
    }

    /// Goes on with what is installed and configured now: other workers, one at a time, and the
    /// API's own files.
    fn renew(&mut self) {
        self.notify.reloading();
        tracing::info!("replacing all workers, one at a time");
        match self.api.as_ref().map(crate::api::ApiHandle::reload) {
            Some(Ok(())) => tracing::info!("token and certificate were read again"),
            Some(Err(error)) => tracing::error!(%error, "the API goes on with the files it had"),
            None => {}
        }
        self.parts.spares.renew();
        for live in self.jobs.values().filter_map(|job| job.live.as_ref()) {
            // It may be over already, and its last word on the way.
            let _ = live.controller.steer(Steering::Roll);
        }
        self.notify.ready(&self.status());
    }
}
