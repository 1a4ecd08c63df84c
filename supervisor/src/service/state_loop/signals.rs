//! Handles signals: stop, reload, more or fewer workers.

use std::time::{Duration, Instant};

use shared::clock;

use crate::runtime::{Signal, Steering};

use super::StateLoop;
use super::job::AfterDrain;
use super::share::count;
use crate::config::ServiceConfig;

/// Time between two notifications to systemd that stopping is in progress.
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// The time that systemd is asked for each time. The jobs, which have their own grace periods, determine how
/// long stopping takes. A service that hangs is killed after this time.
const EXTENSION: Duration = Duration::from_secs(30);

impl StateLoop {
    pub(super) fn handle_signal(&mut self, signal: Signal) {
        match signal {
            // The signal thread notifies the runs itself.
            Signal::Child => {}
            Signal::Stop(signal) => self.stop(signal),
            Signal::Renew => self.renew(),
            // A number out of range is ignored.
            Signal::Grow => drop(self.scale(Some(self.workers + 1))),
            Signal::Shrink => drop(self.scale(Some(self.workers - 1))),
        }
    }

    /// Stops the service. On the first signal, jobs finish their targets in flight and continue at the next
    /// start. On the second, they stop at once, and targets in flight are processed again later.
    fn stop(&mut self, signal: i32) {
        let name = supervisor_core::pool::signal_name(signal).unwrap_or("signal");
        let running: Vec<_> = self.jobs.values().filter(|job| job.running.is_some()).collect();
        if self.stopping {
            tracing::warn!("{name} again: stopping at once");
            for running in running.iter().filter_map(|job| job.running.as_ref()) {
                // Fails if the run has just ended; its event is on the way.
                let _ = running.controller.stop(signal);
            }
            return;
        }
        tracing::info!(running = running.len(), "{name}: finishing the targets in flight");
        self.notify.stopping();
        self.stopping = true;
        self.extend_due = Some(clock::now());
        let undrained: Vec<_> =
            running.iter().filter(|job| !job.is_leaving()).map(|job| job.row.id).collect();
        for id in undrained {
            self.drain(id, AfterDrain::Queue);
        }
    }

    /// Asks systemd for more time while targets in flight are finished.
    pub(super) fn extend(&mut self, now: Instant) {
        if self.extend_due.is_some_and(|due| due <= now) && self.broken.is_none() {
            self.last_status = self.status();
            self.notify.extend(&self.last_status, EXTENSION);
            self.extend_due = Some(now + EXTEND_EVERY);
        }
    }

    /// Reloads settings, the API's token and certificate, and replaces all workers, one at a time.
    fn renew(&mut self) {
        self.notify.reloading();
        tracing::info!("reloading settings and the API's files, and replacing all workers one at a time");
        match (self.parts.reload_settings)() {
            Ok(config) => self.settle(config),
            Err(why) => tracing::error!(%why, "cannot reload the settings; keeping the old ones"),
        }
        match self.endpoint.as_ref().map(|endpoint| endpoint.reload()) {
            Some(Ok(())) => tracing::info!("reloaded token and certificate"),
            Some(Err(why)) => {
                tracing::error!(%why, "cannot reload token and certificate; keeping the old ones")
            }
            None => {}
        }
        self.parts.spares.renew();
        for running in self.jobs.values().filter_map(|job| job.running.as_ref()) {
            // Fails if the run has just ended; its event is on the way.
            let _ = running.controller.steer(Steering::Roll);
        }
        self.last_status = self.status();
        self.notify.ready(&self.last_status);
    }

    /// Applies the new settings that can change while the service runs.
    fn settle(&mut self, new: ServiceConfig) {
        let fixed = self.parts.config.fixed_changes(&new);
        if !fixed.is_empty() {
            tracing::warn!(
                keys = fixed.join(" "),
                "some changed settings take effect only at the next start"
            );
        }
        let old = self.parts.config.take_changes(new);
        let config = &self.parts.config;
        if config.allowed != old.allowed {
            self.parts.disk.allow(config.allowed.clone());
        }
        // A number set by request or signal stays, unless the number in the settings has changed.
        if config.workers != old.workers && !self.stopping {
            self.workers = count(config.workers);
        }
        if self.parts.config != old {
            tracing::info!(workers = self.workers, "applied new settings");
        }
        (self.expiry_due, self.tick_due) = (clock::now(), clock::now());
    }
}
