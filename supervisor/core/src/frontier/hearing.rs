//! What the frontier hears of its hosts: how their attempts ended, what that says about their load, and which of them are
//! given up. The rules are in [`health`](super::health).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Frontier;
use super::control::Answer;
use super::giving_up::GivenUp;
use super::health::Attempt;
use super::host::HostId;

impl Frontier {
    /// Number of refusals of one target up to which they cost no attempt.
    pub(crate) fn patience(&self, now: Instant, host: HostId) -> u8 {
        self.hosts.get(host).map_or(0, |host| host.health.patience(now))
    }

    /// Whether the retry budget of this host allows another retry.
    pub(crate) fn may_retry(&self, host: HostId) -> bool {
        self.hosts.get(host).is_none_or(|host| host.health.may_retry())
    }

    /// Takes a retry from the budget of this host.
    pub(crate) fn count_retry(&mut self, host: HostId) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.health.on_retry();
        }
    }

    /// Records how an attempt ended, before its target is released or retried; the target was refused `refusals` times
    /// before. Returns what that says about the host's load.
    pub(crate) fn hear(&mut self, now: Instant, id: HostId, attempt: &Attempt, refusals: u8) -> Answer {
        let Some(host) = self.hosts.get_mut(id) else { return attempt.answer };
        host.sent_at = host.sent_at.max(attempt.sent_at);
        if let Answer::Refused { .. } = attempt.answer {
            host.refused = host.refused.saturating_add(1);
        }
        let was_given_up = host.health.given_up(now).is_some();
        let had_broken_pages = host.health.has_broken_pages();
        let mut answer = host.health.hear(now, attempt, refusals);
        // What its pages were to blame for was taken for a limit.
        let mut no_limit = host.health.has_broken_pages() && !had_broken_pages;
        if matches!(answer, Answer::Refused { .. }) && !attempt.is_sure {
            let pace_per_s = match &self.share {
                Some(share) => share.pace_per_s(attempt.sent_at, host.name()),
                None => host.control.pace_per_s(attempt.sent_at),
            };
            if !host.health.refusals.blame_load(now, pace_per_s) {
                no_limit |= pace_per_s.is_some();
                answer = Answer::Unknown;
            }
        }
        if let Answer::Refused { .. } = answer {
            let doublings_max = (!attempt.is_sure).then(|| host.health.doublings());
            match &self.share {
                Some(share) => share.set_doubt(host.name(), doublings_max),
                None => host.control.set_doubt(doublings_max),
            }
        }
        if no_limit {
            match &self.share {
                Some(share) => share.forget_pace(host.name()),
                None => host.control.forget_pace(),
            }
        }
        if !was_given_up {
            self.note_hopeless(now, id);
        }
        answer
    }

    /// Remembers a host that was given up, so that its targets are taken out.
    pub(super) fn note_hopeless(&mut self, now: Instant, id: HostId) {
        if self.hosts.get(id).is_some_and(|host| host.health.given_up(now).is_some()) {
            self.hopeless.push(id);
        }
    }

    /// Takes out a host that was given up with all targets that wait for it. They hold no permits.
    pub(crate) fn pop_hopeless(&mut self, now: Instant) -> Option<(Arc<str>, GivenUp, Vec<u64>)> {
        while let Some(id) = self.hopeless.pop() {
            let Some(host) = self.hosts.get_mut(id) else { continue };
            let Some(why) = host.health.given_up(now) else { continue };
            let targets = host.lane.take_all();
            let name = Arc::clone(host.name());
            self.pending -= targets.len();
            self.settle(now, id);
            if !targets.is_empty() {
                return Some((name, why, targets));
            }
        }
        None
    }

    /// Whether a `Retry-After` of this length is honoured in full.
    pub(crate) fn can_wait(&self, after: Duration) -> bool {
        after <= self.config.retry_after_max
    }
}
