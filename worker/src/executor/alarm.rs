//! Waits for an instant. The timer of the event loop counts in milliseconds and rounds up, which would move the starts
//! of a paced host against each other: a server that admits one request each 20 ms refuses what comes after 19.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use shared::clock;
use tokio::io::unix::AsyncFd;

/// Completes at `start`, or some microseconds later.
pub(super) async fn sleep_until(start: Instant) {
    if exactly(start).await.is_err() {
        // No descriptor is left: better a little late than not at all.
        tokio::time::sleep_until(start.into()).await;
    }
}

async fn exactly(start: Instant) -> io::Result<()> {
    let wait = start.saturating_duration_since(clock::now());
    if wait.is_zero() {
        return Ok(());
    }
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
    timer.set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?;
    #[expect(
        deprecated,
        reason = "its replacement is unsafe; here the value that is registered owns its descriptor"
    )]
    let timer = AsyncFd::new(OwnedFd::from(timer))?;
    // It is readable once it has expired, and is never read.
    drop(timer.readable().await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_wakes_at_the_instant_and_not_before() {
        for wait_us in [0, 1, 700, 1_300, 5_000] {
            let start = clock::now() + Duration::from_micros(wait_us);
            sleep_until(start).await;
            assert!(clock::now() >= start, "{wait_us} us");
        }
    }
}
