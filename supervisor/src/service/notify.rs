//! What systemd hears: that the service is up, what it is at, that its state loop turns. Without
//! systemd's variables every call does nothing.

use std::env;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// Tells systemd. Made once, at the start.
#[derive(Debug)]
pub(super) struct Notify {
    /// How often a sign of life is due, if one is waited for.
    watchdog: Option<Duration>,
}

impl Notify {
    pub(super) fn new() -> Self {
        Self { watchdog: watchdog() }
    }

    /// How often [`Self::alive`] is to be called: three times in the period that systemd waits.
    pub(super) fn every(&self) -> Option<Duration> {
        self.watchdog.map(|period| period / 3)
    }

    /// Up, and doing this.
    pub(super) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Doing this now.
    pub(super) fn status(&self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }

    /// The state loop turns.
    pub(super) fn alive(&self) {
        if self.watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// Reads its settings again; [`Self::ready`] follows.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => unheard(&error),
        }
    }

    /// Stops.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Is at this, and needs so much time from now on.
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
    tracing::debug!(%error, "systemd could not be told");
}

/// The period in which systemd wants a sign of life of this very process.
fn watchdog() -> Option<Duration> {
    let pid = env::var("WATCHDOG_PID").ok();
    if pid.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    let period_us: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (period_us > 0).then(|| Duration::from_micros(period_us))
}
