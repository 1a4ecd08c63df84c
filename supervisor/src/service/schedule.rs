//! Which jobs run, and with how many workers each. Decides only, and touches nothing: the state loop
//! tells it what there is and does what it says.
//!
//! A worker process belongs to one job. What every job at work may have is a fair share: one worker
//! each, and every further one goes to the job that has the fewest for its weight and has a use for
//! it. Ten points of priority double the weight. Who waits gets in by priority, then by order of
//! submission; nobody who is at work is sent back for somebody who waits, unless there are fewer
//! workers than jobs.
//!
//! Invariant: a job is given one worker more only when there is a process less than there may be, so
//! all jobs together never have more processes than that, however slowly a worker leaves.

use crate::view::JobId;

/// Points of priority that double a job's weight.
const DOUBLING: i32 = 10;

/// A job that is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) id: JobId,
    pub(super) priority: i32,
    pub(super) stage: Stage,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Running(Holding),
    /// On its way out, with so many processes still there.
    Leaving {
        alive: u32,
    },
}

/// What a job that runs has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holding {
    /// Workers it was told that it may have.
    pub(super) allotted: u32,
    /// Processes it has. Fewer while some are starting, more while some are leaving.
    pub(super) alive: u32,
    /// Workers it has a use for.
    pub(super) wants: u32,
}

impl Holding {
    /// Processes it has or is about to have.
    fn held(self) -> u32 {
        self.alive.max(self.allotted)
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Begin a job that waits, with so many workers.
    Start(JobId, u32),
    /// Tell a job that it may have so many now.
    Allot(JobId, u32),
    /// Stop a job and let it wait again: there are fewer workers than jobs.
    SendBack(JobId),
}

/// What is to be done so that `claims` get what is theirs of `workers`. Of no effect where all is as
/// it should be: then there is nothing in it.
pub(super) fn moves(workers: u32, jobs_max: u32, claims: &[Claim]) -> Vec<Move> {
    let room = workers.min(jobs_max).max(1) as usize;
    let mut moves = Vec::new();
    let mut in_order: Vec<&Claim> = claims.iter().collect();
    // Those at work first, then who waits, each in the order in which they are served.
    in_order
        .sort_by_key(|claim| (claim.stage == Stage::Waiting, std::cmp::Reverse(claim.priority), claim.id));
    let leaving = |claim: &&&Claim| matches!(claim.stage, Stage::Leaving { .. });
    let gone_soon = in_order.iter().filter(leaving).count();
    in_order.retain(|claim| !matches!(claim.stage, Stage::Leaving { .. }));
    let running = in_order.iter().filter(|claim| claim.stage != Stage::Waiting).count();
    for claim in in_order.iter().take(running).skip(room) {
        moves.push(Move::SendBack(claim.id));
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
            moves.push(Move::Start(claim.id, given));
        }
    }
    for (claim, share) in sharing.iter().zip(&shares) {
        let Stage::Running(holding) = claim.stage else { continue };
        if *share < holding.allotted {
            moves.push(Move::Allot(claim.id, *share));
        } else if *share > holding.allotted && holding.alive <= holding.allotted && free > 0 {
            // One that leaves still counts as its own, so it waits for that.
            let given = (*share - holding.allotted).min(free);
            free -= given;
            moves.push(Move::Allot(claim.id, holding.allotted + given));
        }
    }
    moves
}

impl Stage {
    fn held(self) -> u32 {
        match self {
            Self::Waiting => 0,
            Self::Running(holding) => holding.held(),
            Self::Leaving { alive } => alive,
        }
    }

    fn wants(self) -> u32 {
        match self {
            // It begins with a look at what it has to do.
            Self::Waiting => 1,
            Self::Running(holding) => holding.wants.max(1),
            Self::Leaving { .. } => 0,
        }
    }
}

/// One each, and then each to the one with the fewest for its weight.
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
