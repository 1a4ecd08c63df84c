//! Waits for a service that went away. It may be restarting, and its jobs continue afterwards.

use std::time::{Duration, Instant};

use http::StatusCode;
use shared::clock;
use tokio::time::sleep;

use super::ClientError;

/// Longest time to wait. A restart of the service takes a second; one of the machine, a minute.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// Time before the second attempt. Each further wait is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest time between two attempts, so that clients are soon back after a restart.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The remaining time to wait, since the service went away.
pub(super) struct Reconnect {
    until: Instant,
    pause: Duration,
    has_said: bool,
}

impl Reconnect {
    pub(super) fn new() -> Self {
        Self { until: clock::now() + WAIT_MAX, pause: FIRST_PAUSE, has_said: false }
    }

    /// Waits before the next attempt. Prints a message the first time.
    ///
    /// # Errors
    /// The error itself, if it is permanent or has lasted too long.
    pub(super) async fn wait_or_fail(
        &mut self,
        error: ClientError,
        say: impl FnOnce(&str),
    ) -> Result<(), ClientError> {
        if !is_temporary(&error) || clock::now() >= self.until {
            return Err(error);
        }
        if !std::mem::replace(&mut self.has_said, true) {
            say(&format!("{error}; waiting for the service to come back"));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

/// Whether the error can come from a service that is stopping or starting.
fn is_temporary(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable(_) => true,
        ClientError::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
        ClientError::Here(_) | ClientError::Closed => false,
    }
}
