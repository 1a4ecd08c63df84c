//! The oracle's view of deaths: whether a worker was ended for a good reason, what happens to its
//! targets, and which target may be blamed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::libc;

use super::oracle::Oracle;
use super::scenario::Scenario;
use super::worker::Worker;
use crate::pool::{Death, Exit, Seat};

/// A hang is found at most this long after its limit: two samples, a second apart, and the lag of
/// the loop.
const FOUND_WITHIN: Duration = Duration::from_secs(4);

impl Oracle {
    /// SIGTERM or, if `hard`, SIGKILL.
    pub(super) fn end(&mut self, now: Instant, seat: Seat, hard: bool, worker: &Worker, scenario: &Scenario) {
        let (ending, deaf_for, jumped_at) = (self.ending, self.deaf_for, self.jumped_at);
        let process = self.process(seat);
        let limits = &scenario.config;
        let lingers = process.lingers(now, limits);
        let may_go = lingers || process.unseated && (!process.ready || process.ended.is_some());
        if !ending && !may_go {
            // A clock jump that ends just past a deadline looks like a slow start.
            let jumped = !process.ready && process.spawned_at <= jumped_at;
            assert!(jumped || worker.deserves_an_end(), "{seat} is ended although nothing is wrong with it");
        }
        assert!(hard || !process.terminated, "{seat} got SIGTERM twice");
        process.terminated |= !hard;
        if process.ended.is_some() {
            return;
        }
        let (suspects, mut or_nobody) = worker.suspects();
        if !ending && !hard && !lingers && worker.alive {
            assert!(worker.is_hung(), "{seat} is called hung but is not");
            // One target may be lost, and its deadline may be near, when another target stops the
            // worker.
            let limit = limits.target_timeout + limits.stall_timeout.max(limits.stage_timeout);
            // A standstill is no hang while nothing is held.
            let given_at = process.given_at.filter(|_| worker.lost.is_empty());
            let since = worker.hung_since.max(given_at).expect("the worker hangs");
            let found_after = now.duration_since(since);
            assert!(
                found_after <= limit + FOUND_WITHIN + deaf_for,
                "{seat} was found hung after {found_after:?}"
            );
        }
        or_nobody |= ending || lingers;
        let suspects = if hard && !ending && !worker.forges { Vec::new() } else { suspects };
        process.ended = Some((suspects, or_nobody));
    }

    /// Call this before the pool is told, because its commands depend on it.
    pub(super) fn eof(&mut self, now: Instant, seat: Seat) {
        let process = self.processes.get_mut(&seat).unwrap();
        process.eof = true;
        if process.death.is_some() {
            self.settle(now, seat);
        }
    }

    /// Call this before the pool is told.
    pub(super) fn reaped(&mut self, now: Instant, seat: Seat, death: &Death) {
        let process = self.processes.get_mut(&seat).unwrap();
        process.death.get_or_insert_with(|| (now, death.clone()));
        if process.eof {
            self.settle(now, seat);
        }
    }

    /// The process is gone for good: its targets are free, and at most one is to blame.
    fn settle(&mut self, now: Instant, seat: Seat) {
        let process = self.processes.get_mut(&seat).unwrap();
        if std::mem::replace(&mut process.settled, true) {
            return;
        }
        let (_, death) = process.death.as_ref().unwrap();
        let asked = matches!(death.exit, Exit::Signal(libc::SIGTERM | libc::SIGINT | libc::SIGHUP));
        let ours = asked || matches!(death.exit, Exit::Signal(libc::SIGKILL) | Exit::Code(_));
        let (suspects, or_nobody) = match &process.ended {
            // It may have died by itself while our signal was under way.
            Some((suspects, or_nobody)) if ours => (suspects.clone(), *or_nobody),
            Some((suspects, _)) => {
                (suspects.iter().copied().chain(death.reading.target).collect(), !suspects.is_empty())
            }
            None if asked => (Vec::new(), false),
            None => (death.reading.target.into_iter().collect(), false),
        };
        let (ready, leaves) = (process.ready, process.leaves());
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
        if leaves || self.seats.is_successor(seat) {
            return;
        }
        self.unexplained += u32::from(suspects.is_empty() || or_nobody);
        if !ready {
            self.unready_deaths.push(now);
        }
    }

    /// The pool waits only so long for the end of a reaped worker's channel.
    pub(super) fn settle_without_eof(&mut self, now: Instant, seat: Seat, scenario: &Scenario) {
        let process = self.process(seat);
        if process.settled {
            return;
        }
        let (reaped_at, _) =
            process.death.as_ref().unwrap_or_else(|| panic!("{seat} is settled but not reaped"));
        let waited = now.duration_since(*reaped_at);
        assert!(waited >= scenario.config.terminate_grace, "{seat} is settled before its channel has ended");
        self.settle(now, seat);
    }
}
