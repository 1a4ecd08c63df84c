//! `submit --wait`: shows a job of the service with the progress bar of a local run.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use shared::clock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::connection::Connection;
use super::reconnect::Reconnect;
use super::{ClientError, ServiceAddress, say};
use crate::outcome::Outcome;
use crate::progress::{Progress, Screen, Snapshot, Total};
use crate::summary;
use crate::view::{JobId, JobState, JobView};

/// Time between two requests. The service updates its data four times a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Shows progress until the job ends. Returns the ended job, unless the user stopped waiting, and the exit
/// code.
///
/// # Errors
/// If the service goes away and does not come back.
pub(super) async fn until_ended(
    address: &ServiceAddress,
    job: JobView,
    mut progress: Progress,
) -> Result<(Option<JobView>, ExitCode), ClientError> {
    let screen = Screen::stderr();
    let is_shown = progress.is_shown();
    let stop = |kind| signal(kind).map_err(|error| ClientError::Here(error.to_string()));
    let (mut interrupt, mut terminate) = (stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?);
    let (id, mut job, mut connection) = (job.id, job, None);
    while !job.state.has_ended() {
        progress.tick(clock::now(), &snapshot(&job));
        let next = async {
            sleep(LOOK_EVERY).await;
            look(address, id, &mut connection, &mut progress).await
        };
        let signal = tokio::select! {
            looked = next => {
                job = looked?;
                continue;
            }
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        };
        progress.finish(clock::now(), &snapshot(&job));
        say(&format!(
            "job {id} is still running; show it with `supervisor status {id}`, or stop it with `supervisor cancel {id}`"
        ));
        let number = u8::try_from(signal.as_raw_value()).unwrap_or(u8::MAX);
        return Ok((None, Outcome::Stopped(number).into()));
    }
    progress.finish(clock::now(), &snapshot(&job));
    if let Some(error) = &job.error {
        say(&format!("error: job {id}: {error}"));
    }
    if let Some(summary) = job.summary.as_ref().filter(|_| is_shown) {
        let _ = io::stderr().write_all(summary::table(summary, screen).as_bytes());
    }
    let counts = job.counts;
    if let Some(failed) = summary::failed_inputs(counts.failed, counts.done, &job.errors) {
        progress.message(&format!("job {id}: {failed}"));
    }
    if job.state == JobState::Cancelled {
        say(&format!("job {id} was cancelled"));
    }
    let code = job.exit_code.map_or_else(|| Outcome::Impossible.into(), ExitCode::from);
    Ok((Some(job), code))
}

/// Requests the job, and waits for a service that is restarting.
async fn look(
    address: &ServiceAddress,
    id: JobId,
    connection: &mut Option<Connection>,
    progress: &mut Progress,
) -> Result<JobView, ClientError> {
    let mut reconnect = Reconnect::new();
    loop {
        let looked = async {
            let open = match connection {
                Some(open) => open,
                None => connection.insert(Connection::open(address).await?),
            };
            open.get(&format!("/v1/jobs/{id}")).await?.parse()
        };
        match looked.await {
            Ok(job) => return Ok(job),
            Err(error) => {
                *connection = None;
                reconnect.wait_or_fail(error, |text| progress.message(text)).await?;
            }
        }
    }
}

fn snapshot(job: &JobView) -> Snapshot {
    let counts = job.counts;
    let total = match counts.total {
        Some(total) if counts.total_exact => Total::Exact(total),
        Some(total) => Total::About(total),
        None => Total::Unknown,
    };
    Snapshot {
        done: counts.done,
        failed: counts.failed,
        refused: counts.refused,
        load: None,
        proxies_failing: 0,
        bytes: counts.bytes,
        in_flight: counts.in_flight,
        total,
    }
}
