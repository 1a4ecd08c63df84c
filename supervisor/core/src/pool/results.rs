//! What becomes of the results of a worker. None of a batch counts before all of it is checked, because a worker that
//! an input has taken over can also invent what looks right.

use std::time::{Duration, Instant};

use wire::protocol::{Batch, Outcome, Verdict};

use super::credit::Load;
use super::ledger::Failure;
use super::load::attempt;
use super::mutant::Mutant;
use super::repeats::Repeated;
use super::{Command, Disposition, Pool, PoolState, Seat};
use crate::frontier::{Answer, HostId};

impl Pool {
    /// Handles a worker's results, and appends one disposition per outcome to `dispositions`.
    pub fn handle_batch(
        &mut self,
        now: Instant,
        seat: Seat,
        batch: &Batch,
        dispositions: &mut Vec<Disposition>,
    ) {
        self.compensate_absence(now, Duration::ZERO);
        let mut reported = std::mem::take(&mut self.reported);
        reported.clear();
        if self.current(seat).is_none_or(|slot| slot.is_distrusted) {
            dispositions.resize(dispositions.len() + batch.outcomes.len(), Disposition::Stale);
        } else if let Err(why) = self.check_batch(seat, batch, &mut reported) {
            // None of it counts, not even what could be right.
            dispositions.resize(dispositions.len() + batch.outcomes.len(), Disposition::Stale);
            self.broke_protocol(now, seat, &why);
        } else {
            self.take_in(now, seat, batch, &reported, dispositions);
        }
        self.reported = reported;
        self.settle(now);
    }

    /// Checks that a worker can have these results, before any of them counts. `reported` gets the host and the number
    /// of earlier refusals of each target.
    ///
    /// # Errors
    /// Why it cannot. Its targets are then to be taken back, because they count as reported.
    fn check_batch(
        &mut self,
        seat: Seat,
        batch: &Batch,
        reported: &mut Vec<(HostId, u8)>,
    ) -> Result<(), String> {
        if !self.current(seat).is_some_and(|slot| slot.credit.read(batch.slices_read)) {
            return Err("it claimed to have read more slices than it was sent".to_owned());
        }
        for outcome in &batch.outcomes {
            // A target is taken from a worker only after its death.
            let held = self.ledger.reported_by(outcome, seat);
            reported
                .push(held.ok_or_else(|| format!("it cannot have this result of target {}", outcome.id))?);
        }
        Ok(())
    }

    /// Lets a target wait for another attempt. Returns what its worker no longer holds.
    fn retry(
        &mut self,
        now: Instant,
        host: HostId,
        outcome: &Outcome,
        after: Option<Duration>,
        answer: Answer,
    ) -> Load {
        let load = self.ledger.load(outcome.id);
        let failure = if outcome.reply.is_some_and(|reply| reply.refused) {
            // A host that says "tomorrow" is not waited for, so that costs an attempt.
            let may_defer = after.is_none_or(|after| self.frontier.can_wait(after));
            Failure::Refused { may_defer }
        } else {
            Failure::Other
        };
        let (number, counts) = self.ledger.retry(outcome.id, failure);
        if counts {
            self.frontier.count_retry(host);
        }
        self.frontier.retry(now, outcome.id, host, number, after, answer);
        load
    }

    /// Applies results that were checked.
    fn take_in(
        &mut self,
        now: Instant,
        seat: Seat,
        batch: &Batch,
        reported: &[(HostId, u8)],
        dispositions: &mut Vec<Disposition>,
    ) {
        let mut returned = Load::default();
        for (outcome, &(host, refusals)) in batch.outcomes.iter().zip(reported) {
            if let Some(slot) = self.current(seat) {
                slot.gives_back(host);
            }
            let is_running = self.state == PoolState::Running;
            let repeated = self.sight(host, outcome).filter(|page| is_running || page.is_blocked());
            let attempt = attempt(now, self.anchor, outcome);
            if self.end_way(now, attempt.sent_at, outcome) || was_not_sent(outcome) {
                returned += self.move_on(now, host, outcome.id);
                dispositions.push(Disposition::Retried);
                continue;
            }
            let mut attempt = self.beyond_proxy(outcome, attempt);
            if repeated.as_ref().is_some_and(Repeated::is_blocked) {
                attempt = attempt.blocked();
            }
            self.count_end(now, attempt.answer);
            let answer = self.frontier.hear(now, host, &attempt, refusals);
            let after = outcome.retry_after_ms.map(Duration::from_millis);
            if let Some((load, disposition)) = self.hear_of_session(now, host, outcome, answer) {
                returned += load;
                dispositions.push(disposition);
                continue;
            }
            if let Verdict::Retry { .. } = &outcome.verdict
                && !self.is(Mutant::ForgetRetry)
            {
                returned += self.retry(now, host, outcome, after, answer);
                dispositions.push(Disposition::Retried);
                continue;
            }
            if let Some(after) = after {
                self.frontier.pause(now, host, after);
            }
            if let Some(repeated) = repeated {
                returned += self.ledger.load(outcome.id);
                self.take_over(now, host, outcome, answer, repeated);
                dispositions.push(Disposition::Held);
            } else {
                returned += self.ledger.finish(outcome.id);
                if !self.is(Mutant::KeepPermit) {
                    self.free_place(now, outcome.id, host, answer);
                }
                dispositions.push(Disposition::Final);
            }
        }
        let weighed = self.config.rss_allowance_bytes.is_some();
        if let Some(slot) = self.current(seat) {
            slot.credit.give_back(now, returned);
            if returned.targets > 0 {
                slot.failures = 0;
                slot.wear(now, returned.inputs);
                // Its black box gives its size with its first results. Read it before the next ones
                // make it grow.
                if slot.rss_baseline_bytes.is_none() && weighed {
                    self.commands.push_back(Command::Sample(seat));
                }
                self.intensity.on_progress(batch.outcomes.iter().any(shows_resources));
            }
        }
    }
}

/// Whether the session of a target was over before anything was sent for it.
fn was_not_sent(outcome: &Outcome) -> bool {
    outcome.session.is_some_and(|mark| mark.is_out) && outcome.reply.is_none()
}

/// Whether a worker with this result had what it needs: some failures need neither a socket nor a file.
fn shows_resources(outcome: &Outcome) -> bool {
    outcome.reply.is_some() || outcome.verdict == Verdict::Ok
}
