//! Forgets ended jobs: those that are too old, and the oldest when all together take too much room.

use std::time::{Duration, Instant, SystemTime};

use shared::clock;

use super::super::StoreError;
use super::super::board::Event;
use super::super::view::JobId;
use super::StateLoop;
use super::job::Job;

/// Time between two looks for what is too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

impl StateLoop {
    pub(super) fn expire(&mut self, now: Instant) {
        self.expiry_due = now + EXPIRE_EVERY;
        let config = &self.parts.config;
        let ended = self.jobs.values().filter(|job| job.live.is_none() && job.kept.state.has_ended());
        let ended: Vec<_> = ended.map(|job| (ended_at(job), job.kept.id, job.kept.bytes)).collect();
        for id in expired(ended, clock::wall(), config.keep_for, config.keep_bytes) {
            tracing::info!(job = id.0, "forgotten, for its time is over");
            if let Err(error) = self.forget(id) {
                tracing::warn!(job = id.0, %error, "cannot be forgotten");
                return;
            }
        }
    }

    /// Forgets a job and removes its files.
    pub(super) fn forget(&mut self, id: JobId) -> Result<(), StoreError> {
        self.parts.store.delete(id)?;
        self.jobs.remove(&id);
        self.parts.clerk.remove(self.parts.store.job_directory(id));
        self.hide_job(id);
        self.parts.service.tell(Event::Removed(id));
        Ok(())
    }
}

fn ended_at(job: &Job) -> SystemTime {
    let finished = job.kept.finished_at.as_deref().unwrap_or(&job.kept.submitted_at);
    humantime::parse_rfc3339(finished).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Which of the ended jobs (when, which, bytes) go, the oldest first.
fn expired(
    mut ended: Vec<(SystemTime, JobId, u64)>,
    now: SystemTime,
    keep_for: Duration,
    keep_bytes: u64,
) -> Vec<JobId> {
    ended.sort();
    let mut bytes: u64 = ended.iter().map(|(_, _, bytes)| bytes).sum();
    let mut gone = Vec::new();
    for (at, id, own) in ended {
        let too_old = now.duration_since(at).is_ok_and(|age| age > keep_for);
        if too_old || bytes > keep_bytes {
            bytes -= own;
            gone.push(id);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_no_more_than_needed() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let ended = [(at(30), JobId(3), 10), (at(10), JobId(1), 10), (at(20), JobId(2), 10)];
        let check = |keep_s, keep_bytes, want: &[u64]| {
            let gone = expired(ended.to_vec(), at(40), Duration::from_secs(keep_s), keep_bytes);
            assert_eq!(gone.iter().map(|id| id.0).collect::<Vec<_>>(), want, "{keep_s} s, {keep_bytes} B");
        };
        check(100, 100, &[]);
        check(25, 100, &[1]);
        check(100, 30, &[]);
        check(100, 29, &[1]);
        check(100, 10, &[1, 2]);
        check(15, 5, &[1, 2, 3]);
        check(0, 0, &[1, 2, 3]);
    }
}
