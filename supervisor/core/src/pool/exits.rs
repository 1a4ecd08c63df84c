//! The ways of targets through proxies.

use std::time::{Duration, Instant};

use wire::protocol::{ExitFault, Outcome, Verdict};
use wire::record::ErrorKind;

use super::Pool;
use super::credit::Load;
use super::exchange::{Abandoned, Command};
use super::ledger::Failure;
use crate::frontier::{Answer, Attempt, HostId};
use crate::proxies::{Choice, Proxies, ProxySnapshot};

/// Targets that are put off in one turn because no proxy can take them. The others wait for the next turn.
pub(super) const POSTPONED_MAX: usize = 256;

impl Pool {
    /// Sends targets through proxies.
    #[must_use]
    pub fn through(self, proxies: Proxies) -> Self {
        Self { proxies: Some(Box::new(proxies)), ..self }
    }

    /// Returns the state of all proxies.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxySnapshot> {
        self.proxies.as_ref().map_or_else(Vec::new, |proxies| proxies.look())
    }

    /// Returns the state of at most `count` proxies: those that fail before others, then those that were used most.
    #[must_use]
    pub fn proxies_to_show(&self, count: usize) -> Vec<ProxySnapshot> {
        self.proxies.as_ref().map_or_else(Vec::new, |proxies| proxies.look_at(count))
    }

    /// Whether targets need a proxy, and none works.
    #[must_use]
    pub fn lacks_proxies(&self) -> bool {
        self.proxies.as_ref().is_some_and(|proxies| proxies.failure().is_some())
    }

    /// Number of proxies that do not work at present.
    #[must_use]
    pub fn proxies_failing(&self) -> usize {
        self.proxies.as_ref().map_or(0, |proxies| proxies.failing())
    }

    /// Whether a proxy can take a target, or none is needed. If not, notes when one can.
    pub(super) fn proxies_have_room(&mut self, now: Instant) -> bool {
        let Some(proxies) = &self.proxies else { return true };
        let has_room = proxies.has_room(now);
        self.proxies_due = if has_room { None } else { proxies.next_due() };
        has_room
    }

    /// The same, as of the last call.
    pub(super) fn proxies_are_open(&self) -> bool {
        self.proxies.as_ref().is_none_or(|proxies| proxies.has_room(self.called_at))
    }

    /// Chooses the way of a target.
    pub(super) fn way(&mut self, now: Instant, id: u64, host: HostId) -> Choice {
        let Some(proxies) = &mut self.proxies else { return Choice::Direct };
        let name = self.frontier.name(host).map_or("", |name| name);
        proxies.choose(now, id, name, self.ledger.input(id))
    }

    /// Lets a target start again, through another proxy. Returns what its worker no longer holds.
    pub(super) fn move_on(&mut self, now: Instant, host: HostId, id: u64) -> Load {
        let load = self.ledger.load(id);
        self.count_end(now, Answer::Unknown);
        self.ledger.retry(id, Failure::Exit);
        self.frontier.give_back(now, id, host);
        load
    }

    /// Ends a target that was popped and that no proxy can take, as long as another target has a way. If none has, the
    /// target waits for the run to be resumed. Returns whether the run goes on.
    pub(super) fn lose(&mut self, now: Instant, id: u64, host: HostId) -> bool {
        if !self.has_ways() {
            self.frontier.give_back(now, id, host);
            return false;
        }
        let trouble = self.proxies.as_ref().map_or_else(String::new, |proxies| proxies.trouble());
        self.abandon_popped(now, id, host, ErrorKind::Proxy, format!("no proxy for it works: {trouble}"));
        true
    }

    /// Ends a popped target that is not sent any more.
    pub(super) fn abandon_popped(
        &mut self,
        now: Instant,
        id: u64,
        host: HostId,
        kind: ErrorKind,
        message: String,
    ) {
        self.frontier.release(now, host, Answer::Unknown);
        self.forget_way(id);
        if let Some(live) = self.ledger.abandon(id) {
            self.commands.push_back(Command::Abandon(Box::new(Abandoned {
                id,
                attempts: live.attempt() - 1,
                input: live.input.into_vec(),
                kept: live.kept.into_vec(),
                kind,
                message,
            })));
        }
    }

    /// Whether some target has a way, or may come that has one. Remembers which, because most targets may have none.
    fn has_ways(&mut self) -> bool {
        let Some(proxies) = &mut self.proxies else { return true };
        if !self.source_ended && proxies.has_hope() {
            return true;
        }
        let has_way = |(_, input): &(u64, &[u8])| proxies.has_way(input);
        let known = self.reachable.and_then(|id| self.ledger.find(id)).filter(&has_way);
        self.reachable = known.or_else(|| self.ledger.inputs().find(has_way)).map(|(id, _)| id);
        if self.reachable.is_none() {
            proxies.end_run();
        }
        self.reachable.is_some()
    }

    /// Forgets the ways of a target that is finished without a result.
    pub(super) fn forget_way(&mut self, id: u64) {
        if let Some(proxies) = &mut self.proxies {
            proxies.forget(id);
        }
    }

    /// Handles the end of a target's way, which its worker began at `begun`. Returns whether the target goes another way, at no cost.
    pub(super) fn end_way(&mut self, now: Instant, begun: Instant, outcome: &Outcome) -> bool {
        let Some(proxies) = &mut self.proxies else { return false };
        let answered = outcome.reply.map(|reply| Duration::from_micros(reply.first_byte_us.into()));
        let is_final = !matches!(outcome.verdict, Verdict::Retry { .. });
        proxies.end(now, outcome.id, begun, outcome.exit_use, answered, is_final)
    }

    /// Returns what a result says about the host, whose proxy may not have got that far.
    pub(super) fn beyond_proxy(&self, outcome: &Outcome, attempt: Attempt) -> Attempt {
        let Some((proxies, used)) = self.proxies.as_ref().zip(outcome.exit_use) else { return attempt };
        match used.fault {
            Some(ExitFault::Proxy | ExitFault::Credentials | ExitFault::Shunned) => attempt.elsewhere(),
            // If the proxy works, the server is likely to be the one that does not answer.
            Some(ExitFault::Silent) if proxies.has_worked(used.proxy) => attempt.lost(),
            Some(ExitFault::Silent) => attempt.elsewhere(),
            Some(ExitFault::Unreachable | ExitFault::Broken | ExitFault::Blocked) | None => attempt,
        }
    }
}
