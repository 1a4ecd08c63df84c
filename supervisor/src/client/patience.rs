//! A service that has gone is waited for: it may be restarting, and its jobs go on when it is back.

use std::time::{Duration, Instant};

use http::StatusCode;
use shared::clock;
use tokio::time::sleep;

use super::ClientError;

/// How long it is waited for: a restart takes a second, a machine's a minute.
const COMES_BACK: Duration = Duration::from_secs(90);

/// Time before the second try; each after that waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest time between two tries: whoever restarts a service does not want to wait for its clients.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What is left of it, from the moment that the service went.
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
    has_said: bool,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { until: clock::now() + COMES_BACK, pause: FIRST_PAUSE, has_said: false }
    }

    /// Waits until it makes sense to try again, and has it said once that it does.
    ///
    /// # Errors
    /// The error itself, if it will not pass, or has not for too long.
    pub(super) async fn bear(
        &mut self,
        error: ClientError,
        say: impl FnOnce(&str),
    ) -> Result<(), ClientError> {
        if !passes(&error) || clock::now() >= self.until {
            return Err(error);
        }
        if !std::mem::replace(&mut self.has_said, true) {
            say(&format!("{error}; waiting for it to come back"));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

/// Whether this is what a service says, or does not say, that stops or starts.
fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable(_) => true,
        ClientError::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
        ClientError::Here(_) | ClientError::Closed => false,
    }
}
