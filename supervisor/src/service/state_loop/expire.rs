//! Deletes ended jobs: those that are too old, and the oldest if together they use too much disk space.

use std::time::{Duration, Instant, SystemTime};

use shared::clock;

use super::super::StoreError;
use super::super::board::Update;
use super::StateLoop;
use super::job::Job;
use crate::view::JobId;

/// Longest time between two checks. Ages are measured by the wall clock, which may be set meanwhile.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

impl StateLoop {
    pub(super) fn expire(&mut self, now: Instant) {
        self.expiry_due = now + EXPIRE_EVERY;
        let config = &self.parts.config;
        let ended = self.jobs.values().filter(|job| job.state().has_ended());
        let ended: Vec<_> = ended.map(|job| (ended_at(job), job.row.id, job.row.bytes)).collect();
        let Expiry { gone, next } = expiry(ended, clock::wall(), config.keep_for, config.keep_bytes);
        for id in gone {
            tracing::info!(job = id.0, "expired");
            if let Err(error) = self.forget(id) {
                tracing::warn!(job = id.0, %error, "cannot delete the expired job");
                return;
            }
        }
        self.expiry_due = now + next.map_or(EXPIRE_EVERY, |next| next.min(EXPIRE_EVERY));
    }

    /// Deletes a job and its files.
    pub(super) fn forget(&mut self, id: JobId) -> Result<(), StoreError> {
        let files = self.parts.store.delete(id)?;
        self.jobs.remove(&id);
        self.parts.disk.remove(files);
        self.hide_job(id);
        self.parts.service.publish(Update::Removed(id));
        Ok(())
    }
}

fn ended_at(job: &Job) -> SystemTime {
    let finished = job.row.finished_at.as_deref().unwrap_or(&job.row.submitted_at);
    humantime::parse_rfc3339(finished).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Which ended jobs to delete.
#[derive(Debug, PartialEq, Eq)]
struct Expiry {
    /// Jobs to delete now, oldest first.
    gone: Vec<JobId>,
    /// Time until the next job is too old.
    next: Option<Duration>,
}

/// Decides about the ended jobs, each with its end time, id and size in bytes.
fn expiry(
    mut ended: Vec<(SystemTime, JobId, u64)>,
    now: SystemTime,
    keep_for: Duration,
    keep_bytes: u64,
) -> Expiry {
    ended.sort();
    let mut bytes: u64 = ended.iter().map(|(_, _, bytes)| bytes).sum();
    let mut expiry = Expiry { gone: Vec::new(), next: None };
    for (at, id, own) in ended {
        // If a job seems to end in the future, the clock was set back; its age is zero.
        let left = keep_for.saturating_sub(now.duration_since(at).unwrap_or_default());
        if left.is_zero() || bytes > keep_bytes {
            bytes -= own;
            expiry.gone.push(id);
        } else {
            expiry.next.get_or_insert(left);
        }
    }
    expiry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_no_more_than_needed() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let ended = [(at(30), JobId(3), 10), (at(10), JobId(1), 10), (at(20), JobId(2), 10)];
        let check = |keep_s, keep_bytes, gone: &[u64], next_s: Option<u64>| {
            let got = expiry(ended.to_vec(), at(40), Duration::from_secs(keep_s), keep_bytes);
            let gone = gone.iter().copied().map(JobId).collect();
            assert_eq!(
                got,
                Expiry { gone, next: next_s.map(Duration::from_secs) },
                "{keep_s} s, {keep_bytes} B"
            );
        };
        check(100, 100, &[], Some(70));
        check(31, 100, &[], Some(1));
        check(30, 100, &[1], Some(10));
        check(25, 100, &[1], Some(5));
        check(100, 30, &[], Some(70));
        check(100, 29, &[1], Some(80));
        check(100, 10, &[1, 2], Some(90));
        check(15, 5, &[1, 2, 3], None);
        check(0, 0, &[1, 2, 3], None);
    }
}
