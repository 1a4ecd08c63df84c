//! Notifications to systemd: that the service is up, its status, and that its state loop is alive. Without
//! systemd's environment variables, every call does nothing.

use std::env;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// The connection to systemd. Created once, at the start.
#[derive(Debug)]
pub(super) struct Notify {
    /// The watchdog period, if systemd has set one.
    watchdog: Option<Duration>,
}

impl Notify {
    pub(super) fn new() -> Self {
        Self { watchdog: watchdog() }
    }

    /// Returns how often [`Self::alive`] must be called: three times per watchdog period.
    pub(super) fn every(&self) -> Option<Duration> {
        self.watchdog.map(|period| period / 3)
    }

    /// Reports that the service is up, with a status.
    pub(super) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports a status.
    pub(super) fn status(&self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }

    /// Reports that the state loop is alive.
    pub(super) fn alive(&self) {
        if self.watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// Reports that the service is reloading; [`Self::ready`] follows.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => unheard(&error),
        }
    }

    /// Reports that the service is stopping.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Reports a status, and requests for this much more time.
    pub(super) fn extend(&self, status: &str, more: Duration) {
        let more_us = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(more_us)]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        unheard(&error);
    }
}

fn unheard(error: &io::Error) {
    tracing::debug!(%error, "cannot notify systemd");
}

/// Returns the watchdog period that systemd has set for this process.
fn watchdog() -> Option<Duration> {
    let pid = env::var("WATCHDOG_PID").ok();
    if pid.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    let period_us: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (period_us > 0).then(|| Duration::from_micros(period_us))
}
