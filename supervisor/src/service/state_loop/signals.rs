//! What the system asks for: stop, renew, more or fewer workers.

use std::time::{Duration, Instant};

use shared::clock;

use crate::runtime::{Signal, Steering};

use super::StateLoop;
use super::job::After;
use super::share::count;
use crate::config::ServiceConfig;

/// Time between two words to systemd that stopping goes on.
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// What systemd is asked for each time. How long all of it takes is up to the jobs, each of which ends
/// itself after its own grace; a service that stands still meanwhile is ended after this.
const EXTENSION: Duration = Duration::from_secs(30);

impl StateLoop {
    pub(super) fn told(&mut self, told: Signal) {
        match told {
            // The runs are told without us.
            Signal::Child => {}
            Signal::Stop(signal) => self.stop(signal),
            Signal::Renew => self.renew(),
            // Out of range: then that is that.
            Signal::Grow => drop(self.scale(Some(self.workers + 1))),
            Signal::Shrink => drop(self.scale(Some(self.workers - 1))),
        }
    }

    /// The first time, jobs finish what is in flight and go on at the next start; the second time,
    /// they stop at once, and what was in flight is done again.
    fn stop(&mut self, signal: i32) {
        let name = supervisor_core::pool::signal_name(signal).unwrap_or("a signal");
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
        self.notify.stopping();
        self.stopping = true;
        self.extend_due = Some(clock::now());
        let undrained: Vec<_> =
            running.iter().filter(|job| !job.is_leaving()).map(|job| job.kept.id).collect();
        for id in undrained {
            self.drain(id, After::Queue);
        }
    }

    /// Asks systemd for patience while what is in flight is being finished.
    pub(super) fn extend(&mut self, now: Instant) {
        if self.extend_due.is_some_and(|due| due <= now) && self.broken.is_none() {
            self.said = self.status();
            self.notify.extend(&self.said, EXTENSION);
            self.extend_due = Some(now + EXTEND_EVERY);
        }
    }

    /// Goes on with what is installed and configured now: the settings, other workers, one at a time,
    /// and the API's own files.
    fn renew(&mut self) {
        self.notify.reloading();
        tracing::info!("reading the settings and the API's files again, replacing all workers one at a time");
        match (self.parts.again)() {
            Ok(config) => self.settle(config),
            Err(why) => tracing::error!(%why, "the settings stay as they were"),
        }
        match self.endpoint.as_ref().map(|endpoint| endpoint.reload()) {
            Some(Ok(())) => tracing::info!("token and certificate were read again"),
            Some(Err(why)) => tracing::error!(%why, "the API goes on with the files it had"),
            None => {}
        }
        self.parts.spares.renew();
        for live in self.jobs.values().filter_map(|job| job.live.as_ref()) {
            // It may be over already, and its last word on the way.
            let _ = live.controller.steer(Steering::Roll);
        }
        self.said = self.status();
        self.notify.ready(&self.said);
    }

    /// Takes over of new settings what can change while it runs.
    fn settle(&mut self, new: ServiceConfig) {
        let fixed = self.parts.config.fixed_changes(&new);
        if !fixed.is_empty() {
            tracing::warn!(keys = fixed.join(" "), "changed settings that take effect at the next start");
        }
        let old = self.parts.config.take_changes(new);
        let config = &self.parts.config;
        if config.allowed != old.allowed {
            self.parts.clerk.allow(config.allowed.clone());
        }
        // A number that somebody has asked for since holds, unless the settings say another one than before.
        if config.workers != old.workers && !self.stopping {
            self.workers = count(config.workers);
        }
        if self.parts.config != old {
            tracing::info!(workers = self.workers, "new settings");
        }
        (self.expiry_due, self.tick_due) = (clock::now(), clock::now());
    }
}
