//! Chooses the worker for the next target: the one that holds the least, within its window and its
//! fair share.

use std::time::Instant;

use wire::protocol::{Slice, Target};

use super::credit::{SLICE_BYTES_MAX, TARGET_OVERHEAD_BYTES};
use super::exits::POSTPONED_MAX;
use super::mutant::Mutant;
use super::slot::{Slot, State};
use super::{Command, Pool};
use crate::frontier::{HostId, Start};
use crate::proxies::Choice;

impl Pool {
    /// Hands out every target that may start now.
    pub(super) fn dispatch(&mut self, now: Instant) {
        if self.backlog() == 0 {
            return;
        }
        let share = self.fair_share();
        let mut postponed = 0;
        while self.has_room()
            && self.proxies_have_room(now)
            && self.slots.iter().any(|slot| self.takes_one(slot, share))
        {
            let Some(Start { id, host, not_before }) = self.frontier.pop(now) else { break };
            let Some(way) = self.enter(now, id, host) else { continue };
            let exit = match way {
                Choice::Direct => None,
                Choice::Via(exit) => Some(exit),
                Choice::Lost if self.lose(now, id, host) => continue,
                Choice::Lost => break,
                Choice::Wait(_) if postponed == POSTPONED_MAX => {
                    self.frontier.give_back(now, id, host);
                    break;
                }
                Choice::Wait(until) => {
                    postponed += 1;
                    self.frontier.postpone(now, id, host, until);
                    continue;
                }
            };
            let Some(index) = self.least_loaded(share, host) else { break };
            let session = self.session_number();
            let Some(slot) = self.slots.get_mut(index) else { break };
            if self.config.piped
                && let Some(rest) = self.ledger.split(id, slot.credit.piece())
            {
                self.frontier.give_back(now, rest, HostId::NONE);
            }
            // A user who wants no retries gets none.
            let patience = if self.config.retries > 0 { self.frontier.patience(now, host) } else { 0 };
            let in_budget = self.frontier.may_retry(host);
            let Some(live) = self.ledger.assign(id, slot.seat, host, patience) else { continue };
            let bytes = live.input.len() + live.kept.len() + TARGET_OVERHEAD_BYTES;
            if slot.slice_bytes + bytes > SLICE_BYTES_MAX {
                flush(slot, &mut self.commands);
            }
            slot.slice_bytes += bytes;
            slot.slice.push(Target {
                id,
                attempt: live.attempt(),
                may_retry: live.retries < self.config.retries && in_budget,
                over_budget: live.retries < self.config.retries && !in_budget,
                may_defer: live.may_defer,
                not_before_us: self.anchor.and_then(|anchor| anchor.us(not_before?)),
                exit,
                session,
                input: live.input.to_vec(),
                kept: live.kept.to_vec(),
            });
            slot.credit.take(now, live.load());
            slot.takes(host);
            // Beyond the concurrency, a target waits for its turn in the worker. The next sample
            // checks whether its turn has come.
            let begins = slot.credit.held() <= self.config.concurrency as usize;
            let deadline = begins.then(|| not_before.unwrap_or(now) + self.config.target_timeout);
            if !self.config.piped {
                slot.watch(id, live.attempt(), deadline);
            }
            if slot.credit.held() == 1 {
                // It was idle until now, so a standstill was not a hang.
                slot.progress.1 = now;
            }
            self.count_start(now);
        }
        for slot in &mut self.slots {
            flush(slot, &mut self.commands);
        }
    }

    /// Tells workers with a program that no more targets follow, so that the program does not hold
    /// back answers while it waits for input.
    pub(super) fn flush_programs(&mut self) {
        if !self.config.piped || !self.source_ended || self.backlog() > 0 {
            return;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.state == State::Serving && !slot.flushed) {
            if slot.credit.held() > 0 {
                slot.flushed = true;
                self.commands.push_back(Command::SendFlush(slot.seat));
            }
        }
    }

    /// How much one worker may hold so that the others get their share. This matters at the start,
    /// when one worker is ready before the rest, and at the end, when little work is left. What is with a slow host
    /// keeps no worker busy, so it is not part of it.
    pub(super) fn fair_share(&self) -> usize {
        let (mut parts, mut held) = (0, 0);
        for slot in self.slots.iter().filter(|slot| slot.takes_part()) {
            parts += 1;
            held += slot.awake();
        }
        let backlog = usize::try_from(self.ledger.inputs_waiting()).unwrap_or(usize::MAX);
        backlog.saturating_add(held).div_ceil(parts.max(1)).max(1)
    }

    /// Whether this worker has room for a target, when one may hold at most `share`.
    pub(super) fn takes_one(&self, slot: &Slot, share: usize) -> bool {
        slot.state == State::Serving
            && slot.credit.has_room(slot.credit.window())
            && slot.awake() < share
            && (slot.credit.may_send(slot.slice_bytes) || self.is(Mutant::NoCreditCheck))
    }

    /// Returns the worker that gets the next target of `host`, if any has room: the one that holds the least of that
    /// host. Otherwise the worker that holds what is with a slow host would get nothing else until the others hold as
    /// much.
    fn least_loaded(&self, share: usize, host: HostId) -> Option<usize> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| self.takes_one(slot, share))
            .min_by_key(|(_, slot)| (slot.of_host(host), slot.awake()))
            .map(|(index, _)| index)
    }
}

/// Sends the slice that was built for `slot`.
fn flush(slot: &mut Slot, commands: &mut std::collections::VecDeque<Command>) {
    if slot.slice.is_empty() {
        return;
    }
    let targets = std::mem::take(&mut slot.slice);
    slot.flushed = false;
    slot.credit.sent(slot.slice_bytes);
    slot.slice_bytes = 0;
    commands.push_back(Command::SendSlice(slot.seat, Slice { targets }));
}
