//! Waits for a service that went away. It may be restarting, and its jobs continue afterwards.

use std::time::{Duration, Instant};

use http::StatusCode;
use shared::clock;
use tokio::time::sleep;

use super::ClientError;

/// Longest time to wait. A restart of the service takes a second; one of the machine, a minute.
const COMES_BACK: Duration = Duration::from_secs(90);

/// Time before the second attempt. Each further wait is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest time between two attempts, so that clients are soon back after a restart.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The remaining time to wait, since the service went away.
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
    has_said: bool,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { until: clock::now() + COMES_BACK, pause: FIRST_PAUSE, has_said: false }
    }

    /// Waits before the next attempt. Prints a message the first time.
    ///
    /// # Errors
    /// The error itself, if it is permanent or has lasted too long.
    pub(super) async fn bear(
        &mut self,
        error: ClientError,
        say: impl FnOnce(&str),
    ) -> Result<(), ClientError> {
        if !passes(&error) || clock::now() >= self.until {
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
fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable(_) => true,
        ClientError::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
        ClientError::Here(_) | ClientError::Closed => false,
    }
}
