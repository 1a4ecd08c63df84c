//! The oracle's view of ends: whether a worker deserved its own, what becomes of
//! what it held, and who is to blame.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::libc;

use super::oracle::Oracle;
use super::scenario::Scenario;
use super::worker::Worker;
use crate::pool::{Death, Exit, Seat};

/// A hang is found this much after its limit: two samples, a second apart, and the lag of the loop.
const FOUND_WITHIN: Duration = Duration::from_secs(4);

impl Oracle {
    /// SIGTERM or, if `hard`, SIGKILL.
    pub(super) fn end(&mut self, now: Instant, seat: Seat, hard: bool, worker: &Worker, scenario: &Scenario) {
        let (ending, deaf_for, jumped_at) = (self.ending, self.deaf_for, self.jumped_at);
        let chair = self.chair(seat);
        let limits = &scenario.config;
        let lingers = chair.lingers(now, limits);
        let may_go = lingers || chair.unseated && (!chair.ready || chair.ended.is_some());
        if !ending && !may_go {
            // A jump of the clock that ends just past a deadline cannot be told from a slow start.
            let jumped = !chair.ready && chair.spawned_at <= jumped_at;
            assert!(jumped || worker.deserves_an_end(), "{seat} is ended, and nothing is wrong with it");
        }
        assert!(hard || !chair.terminated, "{seat} got SIGTERM twice");
        chair.terminated |= !hard;
        if chair.ended.is_some() {
            return;
        }
        let (suspects, mut or_nobody) = worker.suspects();
        if !ending && !hard && !lingers && worker.alive {
            assert!(worker.is_hung(), "{seat} is called hung, and is not");
            // One target may be lost, and soon overdue, when another brings everything to a stop.
            let limit = limits.target_timeout + limits.stall_timeout.max(limits.stage_timeout);
            // Standing still is no hang as long as nothing is held.
            let given_at = chair.given_at.filter(|_| worker.lost.is_empty());
            let since = worker.hung_since.max(given_at).expect("it hangs");
            let found_after = now.duration_since(since);
            assert!(
                found_after <= limit + FOUND_WITHIN + deaf_for,
                "{seat} was found hung after {found_after:?}"
            );
        }
        or_nobody |= ending || lingers;
        let suspects = if hard && !ending { Vec::new() } else { suspects };
        chair.ended = Some((suspects, or_nobody));
    }

    /// To be called before the pool is told, as its commands depend on it.
    pub(super) fn eof(&mut self, now: Instant, seat: Seat) {
        let chair = self.chairs.get_mut(&seat).unwrap();
        chair.eof = true;
        if chair.death.is_some() {
            self.settle(now, seat);
        }
    }

    /// To be called before the pool is told.
    pub(super) fn reaped(&mut self, now: Instant, seat: Seat, death: &Death) {
        let chair = self.chairs.get_mut(&seat).unwrap();
        chair.death.get_or_insert_with(|| (now, death.clone()));
        if chair.eof {
            self.settle(now, seat);
        }
    }

    /// The process is gone for good: its targets are free, and at most one is to blame.
    fn settle(&mut self, now: Instant, seat: Seat) {
        let chair = self.chairs.get_mut(&seat).unwrap();
        if std::mem::replace(&mut chair.settled, true) {
            return;
        }
        let (_, death) = chair.death.as_ref().unwrap();
        let asked = matches!(death.exit, Exit::Signal(libc::SIGTERM | libc::SIGINT | libc::SIGHUP));
        let ours = asked || matches!(death.exit, Exit::Signal(libc::SIGKILL) | Exit::Code(_));
        let (suspects, or_nobody) = match &chair.ended {
            // It may have died by itself while our signal was on its way.
            Some((suspects, or_nobody)) if ours => (suspects.clone(), *or_nobody),
            Some((suspects, _)) => {
                (suspects.iter().copied().chain(death.reading.target).collect(), !suspects.is_empty())
            }
            None if asked => (Vec::new(), false),
            None => (death.reading.target.into_iter().collect(), false),
        };
        let (ready, leaves) = (chair.ready, chair.leaves());
        let suspects: BTreeSet<_> =
            suspects.into_iter().filter(|id| self.entries[*id as usize].holder == Some(seat)).collect();
        for id in &suspects {
            let entry = &mut self.entries[*id as usize];
            if suspects.len() == 1 && !or_nobody {
                entry.blamed += 1;
            } else {
                entry.maybe_blamed += 1;
            }
        }
        for entry in &mut self.entries {
            if entry.holder == Some(seat) {
                entry.holder = None;
            }
        }
        if leaves || self.seats.is_heir(seat) {
            return;
        }
        self.vain += u32::from(suspects.is_empty() || or_nobody);
        if !ready {
            self.unready_deaths.push(now);
        }
    }

    /// The pool waits for the end of a reaped worker's channel only so long.
    pub(super) fn settle_without_eof(&mut self, now: Instant, seat: Seat, scenario: &Scenario) {
        let chair = self.chair(seat);
        if chair.settled {
            return;
        }
        let (reaped_at, _) =
            chair.death.as_ref().unwrap_or_else(|| panic!("{seat} is settled, yet not reaped"));
        let waited = now.duration_since(*reaped_at);
        assert!(waited >= scenario.config.terminate_grace, "{seat} is settled before its channel has ended");
        self.settle(now, seat);
    }
}
