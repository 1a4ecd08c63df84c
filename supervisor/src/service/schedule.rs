//! Decides which jobs run, and with how many workers each. Pure: the state loop passes in the state and
//! carries out the result.
//!
//! A worker process belongs to one job. Each running job gets a fair share: one worker, and each further
//! worker goes to the job with the fewest workers for its weight that has work for it. Ten points of priority
//! double the weight. Waiting jobs start by priority, then by order of submission. A running job is requeued
//! for a waiting one only if there are fewer workers than jobs.
//!
//! Invariant: a job gets another worker only while there are fewer processes than workers. So all jobs
//! together never have more processes than workers, however slowly workers exit.

use crate::view::JobId;

/// Points of priority that double a job's weight.
const DOUBLING: i32 = 10;

/// A job to schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) id: JobId,
    pub(super) priority: i32,
    /// Whether the service died while it ran, and the job has not shown that it was not to blame.
    pub(super) suspected: bool,
    pub(super) stage: Stage,
}

/// The stage of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Running(Allocation),
    /// Stopping, with this many processes left.
    Leaving {
        alive: u32,
    },
}

/// The workers of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allocation {
    /// Workers that the job is allowed.
    pub(super) allotted: u32,
    /// Processes that the job has. Fewer than allotted while some start, more while some exit.
    pub(super) alive: u32,
    /// Workers that the job has work for.
    pub(super) wants: u32,
}

impl Allocation {
    /// Returns the processes that the job has or will have.
    fn held(self) -> u32 {
        self.alive.max(self.allotted)
    }
}

/// A scheduling decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Start a waiting job with this many workers.
    Start(JobId, u32),
    /// Change the number of workers that a job is allowed.
    Allot(JobId, u32),
    /// Stop a job and queue it again, because there are fewer workers than jobs.
    Requeue(JobId),
}

/// Returns the claims that count now. A suspected job is started alone, and nothing is started beside it, so that another
/// death of the service shows which job it was.
pub(super) fn eligible(mut claims: Vec<Claim>) -> Vec<Claim> {
    let waits = |claim: &&Claim| claim.stage == Stage::Waiting;
    let is_tried = claims.iter().any(|claim| claim.suspected && claim.stage != Stage::Waiting);
    let next = claims.iter().filter(waits).min_by_key(|claim| (std::cmp::Reverse(claim.priority), claim.id));
    let next = next.copied().filter(|_| !is_tried);
    claims.retain(|claim| match next {
        _ if claim.stage != Stage::Waiting => true,
        Some(next) if next.suspected => next.id == claim.id,
        Some(_) => !claim.suspected,
        None => false,
    });
    claims
}

/// Returns the decisions that give `claims` their shares of `workers`. Empty if nothing has to change.
pub(super) fn changes(workers: u32, jobs_max: u32, claims: &[Claim]) -> Vec<Change> {
    let room = workers.min(jobs_max).max(1) as usize;
    let mut changes = Vec::new();
    let mut in_order: Vec<&Claim> = claims.iter().collect();
    // Running jobs first, then waiting ones, each in the order in which they are served.
    in_order
        .sort_by_key(|claim| (claim.stage == Stage::Waiting, std::cmp::Reverse(claim.priority), claim.id));
    let leaving = |claim: &&&Claim| matches!(claim.stage, Stage::Leaving { .. });
    let gone_soon = in_order.iter().filter(leaving).count();
    in_order.retain(|claim| !matches!(claim.stage, Stage::Leaving { .. }));
    let running = in_order.iter().filter(|claim| claim.stage != Stage::Waiting).count();
    for claim in in_order.iter().take(running).skip(room) {
        changes.push(Change::Requeue(claim.id));
    }
    let stay = running.min(room);
    let starting = room.saturating_sub(running + gone_soon);
    let sharing: Vec<&Claim> =
        in_order.iter().take(stay).chain(in_order.iter().skip(running).take(starting)).copied().collect();
    let shares = shares(workers, &sharing);

    let held: u32 = claims.iter().map(|claim| claim.stage.held()).sum();
    let mut free = workers.saturating_sub(held);
    for (claim, share) in sharing.iter().zip(&shares).filter(|(claim, _)| claim.stage == Stage::Waiting) {
        let given = (*share).min(free);
        if given > 0 {
            free -= given;
            changes.push(Change::Start(claim.id, given));
        }
    }
    for (claim, share) in sharing.iter().zip(&shares) {
        let Stage::Running(allocation) = claim.stage else { continue };
        if *share < allocation.allotted {
            changes.push(Change::Allot(claim.id, *share));
        } else if *share > allocation.allotted && allocation.alive <= allocation.allotted && free > 0 {
            // A worker that is exiting still counts, so the job waits for its exit.
            let given = (*share - allocation.allotted).min(free);
            free -= given;
            changes.push(Change::Allot(claim.id, allocation.allotted + given));
        }
    }
    changes
}

impl Stage {
    fn held(self) -> u32 {
        match self {
            Self::Waiting => 0,
            Self::Running(allocation) => allocation.held(),
            Self::Leaving { alive } => alive,
        }
    }

    fn wants(self) -> u32 {
        match self {
            // A job starts with one worker, until its work is known.
            Self::Waiting => 1,
            Self::Running(allocation) => allocation.wants.max(1),
            Self::Leaving { .. } => 0,
        }
    }
}

/// Gives each job one worker, and each further worker to the job with the fewest for its weight.
fn shares(workers: u32, claims: &[&Claim]) -> Vec<u32> {
    let mut shares = vec![1_u32; claims.len()];
    let weight = |claim: &Claim| (f64::from(claim.priority) / f64::from(DOUBLING)).exp2();
    let mut left = workers.saturating_sub(u32::try_from(claims.len()).unwrap_or(u32::MAX));
    while left > 0 {
        let next = claims
            .iter()
            .zip(&mut shares)
            .filter(|(claim, share)| **share < claim.stage.wants())
            .map(|(claim, share)| (f64::from(*share) / weight(claim), claim.id, share))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let Some((_, _, share)) = next else { break };
        *share += 1;
        left -= 1;
    }
    shares
}

#[cfg(test)]
mod tests;
