//! Where results come together: those that workers encoded, and the records of inputs
//! for which no worker could write one.

use std::time::{Duration, Instant};

use crossbeam_channel::TrySendError;
use shared::clock;
use shared::crawl::Place;
use shared::kept::Kept;
use shared::pages;
use shared::protocol::{Batch, CHECK_IDS, LOGIN_IDS, OWN_IDS, Outcome, Parts, Verdict};
use shared::record::{ErrorKind, Record, RecordError};
use supervisor_core::pages::ListEnd;
use supervisor_core::pool::{Abandoned, Disposition, Event, Quarantined, Rejected, Seat};

use super::Runtime;
use super::pages::{GivenFirst, Paging};
use super::writer::Chunk;
use crate::journal::{Final, HeldRecord};
use crate::kinds;
use crate::learned;
use crate::plan::Twice;
use crate::source::TargetKind;

/// How often a journal gets what was learned about hosts.
const LEARNED_EVERY: Duration = Duration::from_secs(2);

/// How much later that is where no record comes.
const LEARNED_LATER: Duration = Duration::from_secs(8);

/// An input, and the data carried along with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) input: &'a [u8],
    pub(super) kept: &'a [u8],
}

/// A final result whose page is not judged yet.
pub(super) struct Unjudged {
    slot: u32,
    outcome: Outcome,
    line: Vec<u8>,
    /// Its input, if it is the first page of a list.
    given: Option<GivenFirst>,
}

/// The worker that would have written a record, and on which attempt.
#[derive(Debug, Clone, Copy)]
struct By {
    slot: u32,
    attempts: u32,
}

impl Runtime<'_> {
    pub(super) fn on_batch(&mut self, now: Instant, seat: Seat, batch: &Batch) {
        let mut firsts = self.given_firsts(batch);
        let mut dispositions = std::mem::take(&mut self.dispositions);
        dispositions.clear();
        self.pool.handle_batch(now, seat, batch, &mut dispositions);
        let mut lines = batch.lines.as_slice();
        for (outcome, disposition) in batch.outcomes.iter().zip(&dispositions) {
            let length = usize::try_from(outcome.line_bytes).unwrap_or(usize::MAX).min(lines.len());
            let (line, rest) = lines.split_at(length);
            lines = rest;
            if *disposition == Disposition::Stale {
                continue;
            }
            if outcome.id >= OWN_IDS {
                self.parts.observer.asked_robots(outcome);
                match disposition {
                    Disposition::Final if outcome.id < LOGIN_IDS => self.take_robots(now, outcome.id, line),
                    Disposition::Final if outcome.id < CHECK_IDS => self.take_login(now, outcome.id, line),
                    Disposition::Final | Disposition::Retried | Disposition::Held | Disposition::Stale => {}
                }
                continue;
            }
            self.parts.observer.attempted(outcome);
            match disposition {
                Disposition::Stale => {}
                Disposition::Retried => self.parts.gather.record(seat.slot, outcome),
                Disposition::Held => {
                    let given = firsts.remove(&outcome.id);
                    let unjudged =
                        Unjudged { slot: seat.slot, outcome: outcome.clone(), line: line.to_vec(), given };
                    self.unjudged.insert(outcome.id, unjudged);
                }
                Disposition::Final => {
                    self.parts.gather.record(seat.slot, outcome);
                    self.emit_noted(now, outcome, line, firsts.remove(&outcome.id));
                }
            }
        }
        self.dispositions = dispositions;
    }

    /// Passes on the record of a target whose page was judged to be a result.
    pub(super) fn accept(&mut self, id: u64) {
        if let Some(Unjudged { slot, outcome, line, given }) = self.unjudged.remove(&id) {
            self.parts.gather.record(slot, &outcome);
            self.emit_noted(clock::now(), &outcome, &line, given);
        }
    }

    /// Drops the record of a target whose page counts as blocked. The last attempt leaves a record of that.
    pub(super) fn reject(&mut self, rejected: &Rejected) {
        let id = rejected.id;
        let Some(Unjudged { slot, outcome, .. }) = self.unjudged.remove(&id) else { return };
        let kind = ErrorKind::Blocked;
        let Some(last) = &rejected.last else {
            let verdict = Verdict::Retry { kind };
            return self.parts.gather.record(slot, &Outcome { verdict, endings: None, ..outcome });
        };
        self.parts.gather.record(slot, &Outcome { verdict: Verdict::Failed(kind), endings: None, ..outcome });
        let error = RecordError { kind, message: &last.message, evidence: None };
        let by = By { slot, attempts: last.attempts };
        let given = Given { input: &last.input, kept: &last.kept };
        self.write_error(id, given, by, error, Final::Failed(kind));
    }

    /// Writes the record of a quarantined target, because its worker cannot any more.
    pub(super) fn quarantine(&mut self, quarantined: &Quarantined) {
        if quarantined.id >= LOGIN_IDS {
            self.parts.observer.set_aside(quarantined);
            return self.pool.end_login(clock::now(), quarantined.id, Some(&quarantined.message));
        }
        if quarantined.id >= OWN_IDS {
            return self.lose_robots(quarantined);
        }
        let at_us = clock::monotonic_us().saturating_sub(self.job.started_us);
        self.parts.gather.quarantined(quarantined.slot, quarantined.kind, at_us);
        self.parts.observer.set_aside(quarantined);
        if let Some(why) = kinds::of(&self.job.work).fails_without(quarantined) {
            if self.ended.failure.is_none() {
                (self.ended.failure, self.ended.lacks_descriptors) = (Some(why), false);
            }
            return self.pool.handle_event(clock::now(), Event::Kill);
        }
        let error = RecordError {
            kind: quarantined.kind,
            message: &quarantined.message,
            evidence: Some(&quarantined.evidence),
        };
        let ending = Final::Quarantined(quarantined.kind);
        let by = By { slot: quarantined.slot, attempts: quarantined.attempts };
        let given = Given { input: &quarantined.input, kept: &quarantined.kept };
        self.write_error(quarantined.id, given, by, error, ending);
    }

    /// Writes the record of an input that no worker gets.
    pub(super) fn refuse(&mut self, id: u64, given: Given<'_>, kind: ErrorKind, why: &str) {
        self.write_unasked(id, given, 1, kind, why);
    }

    /// Writes the record of a target whose host was given up.
    pub(super) fn abandon(&mut self, abandoned: &Abandoned) {
        if abandoned.id >= LOGIN_IDS {
            return self.pool.end_login(clock::now(), abandoned.id, Some(&abandoned.message));
        }
        if abandoned.id >= OWN_IDS {
            return self.abandon_robots(abandoned);
        }
        let Abandoned { id, input, kept, attempts, kind, message } = abandoned;
        self.write_unasked(*id, Given { input, kept }, *attempts, *kind, message);
    }

    /// Writes and counts the record of an input that no worker has.
    fn write_unasked(&mut self, id: u64, given: Given<'_>, attempts: u32, kind: ErrorKind, why: &str) {
        let outcome = Outcome {
            id,
            verdict: Verdict::Failed(kind),
            bytes: 0,
            started_us: clock::monotonic_us().saturating_sub(self.job.started_us),
            elapsed_us: 0,
            cpu_us: 0,
            endings: None,
            reply: None,
            retry_after_ms: None,
            exit_use: None,
            over_budget: false,
            session: None,
            line_bytes: 0,
            found_bytes: 0,
            note_bytes: 0,
        };
        self.parts.gather.record(0, &outcome);
        let error = RecordError { kind, message: why, evidence: None };
        self.write_error(id, given, By { slot: 0, attempts }, error, Final::Failed(kind));
    }

    /// Writes a record that no worker can write.
    fn write_error(&mut self, id: u64, given: Given<'_>, by: By, error: RecordError<'_>, ending: Final) {
        let input = String::from_utf8_lossy(given.input);
        let (url, path) = match self.rules.target {
            TargetKind::Url => (Some(&*input), None),
            TargetKind::Path => (None, Some(&*input)),
            // A line is named by its id alone.
            TargetKind::Lines => (None, None),
        };
        let place = if self.rules.crawls { Place::of(Kept(given.kept)) } else { None };
        let record = Record {
            id,
            url,
            path,
            keep: Kept(given.kept),
            depth: place.map(|place| place.depth),
            parent: match place {
                Some(place) => place.parent,
                None => pages::parent_of(id).filter(|_| self.paging.is_some()),
            },
            page: self.paging.is_some().then(|| pages::page_of(id)),
            attempts: Some(by.attempts),
            worker: Some(by.slot),
            error: Some(error),
            ..Record::default()
        };
        let mut encoded = Vec::new();
        self.encoder.write(&record, None, &mut encoded);
        // As a worker does, what an earlier run knows of the page is passed on to the next.
        if self.earlier.is_some() && self.parts.queue.keeps_notes() {
            self.out.notes.pass_on(given.input);
        }
        self.emit(id, ending, &encoded);
        self.end_list(id, ListEnd::Error);
    }

    /// Hands the lines of this turn to the writer, or keeps them while it is behind.
    pub(super) fn write_out(&mut self) {
        // While nothing comes back, what the hosts do is worth noting all the same, if less often.
        let is_due = self.parts.queue.is_recorded() && clock::now() >= self.learned_due + LEARNED_LATER;
        if self.out.is_empty() && !is_due {
            return;
        }
        self.sum_up();
        if self.out.is_empty() {
            return;
        }
        let Some(chunks) = self.parts.queue.chunks() else { return };
        match chunks.try_send(std::mem::take(&mut self.out)) {
            Ok(()) => {
                if let Some(since) = self.blocked_since.take() {
                    let now = clock::now();
                    self.pool.handle_event(now, Event::Suspended(now.duration_since(since)));
                }
            }
            Err(TrySendError::Full(out)) => {
                self.blocked_since.get_or_insert_with(clock::now);
                self.out = out;
            }
            // The writer has failed and reports that itself.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Hands over the last lines. Their reader may be slow; a signal ends the wait.
    pub(super) fn flush(&mut self) {
        self.sum_up();
        let Some(chunks) = self.parts.queue.chunks().filter(|_| !self.out.is_empty()) else { return };
        let out = std::mem::take(&mut self.out);
        if self.killed {
            // The user does not want to wait.
            self.ended.abandoned = chunks.try_send(out).is_err_and(|error| error.is_full());
            return;
        }
        let impatience = self.parts.control.impatience();
        crossbeam_channel::select! {
            send(chunks, out) -> _ => {}
            recv(impatience) -> signal => {
                self.ended.signal = signal.ok().or(self.ended.signal);
                self.ended.abandoned = true;
            }
        }
    }

    /// Keeps the records that wait for an earlier one at the end of the run: in the journal, or behind the
    /// last one in order if there is no journal. Parts of a table are of no use without the others.
    pub(super) fn keep_held(&mut self) {
        let Some(ordered) = self.parts.ordered.as_deref_mut().filter(|_| !self.rules.always_ordered) else {
            return;
        };
        if self.parts.queue.is_recorded() {
            self.ended.held_back = ordered.held();
        }
        let Chunk { lines, progress, .. } = &mut self.out;
        for (first, held) in ordered.take_held() {
            match self.held.remove(&first) {
                Some(ending) => progress.held.push(HeldRecord { first, ending, lines: held }),
                None => lines.extend_from_slice(&held),
            }
        }
    }

    /// Notes what a journal must know of the lines that go out.
    fn sum_up(&mut self) {
        let counts = self.parts.gather.counts();
        let progress = &mut self.out.progress;
        (progress.retries, progress.bytes) = (counts.retries, counts.bytes);
        progress.unchanged = counts.unchanged;
        progress.list_counts = self.paging.as_ref().map(Paging::counts).unwrap_or_default();
        progress.prefix = self.parts.feed.prefix();
        let now = clock::now();
        if self.learned_due <= now && self.parts.queue.is_recorded() {
            self.learned_due = now + LEARNED_EVERY;
            let hosts = self.pool.learned(now);
            progress.hosts = (!hosts.is_empty()).then(|| learned::for_journal(clock::wall(), hosts));
        }
    }

    /// Passes on a final result of a worker, and what travels beside its record. `given` is its input, if the page may be
    /// the first one of a list.
    fn emit_noted(&mut self, now: Instant, outcome: &Outcome, line: &[u8], given: Option<GivenFirst>) {
        let Parts { record, found, note } = outcome.split(line);
        if self.parts.queue.keeps_notes() {
            self.out.notes.push(note);
        }
        if self.rules.crawls && !found.is_empty() {
            self.out.found_bytes += found.len();
            self.out.found.push((outcome.id, found.to_vec()));
        }
        self.emit(outcome.id, ending(outcome), record);
        self.go_on(now, outcome, note, given);
    }

    /// Passes on a final result: in order if needed, else as it comes.
    pub(super) fn emit(&mut self, id: u64, ending: Final, line: &[u8]) {
        let recorded = self.parts.queue.is_recorded();
        let Chunk { lines, progress, .. } = &mut self.out;
        let Some(ordered) = &mut self.parts.ordered else {
            lines.extend_from_slice(line);
            if recorded || self.rules.crawls {
                progress.finished.push((id, ending));
            }
            return;
        };
        // The pool lets one result of a target through, so this cannot fail.
        let _ = ordered.put_several(id, ending.targets(), line, lines);
        if recorded {
            self.held.insert(id, ending);
            while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() < ordered.next_id()) {
                progress.finished.push((*entry.key(), entry.remove()));
            }
            if self.rules.twice != Twice::Harmless && self.held.contains_key(&id) {
                // It may wait for one that needs its place.
                self.pool.handle_event(clock::now(), Event::Settled(vec![id]));
            }
        }
    }
}

const fn ending(outcome: &Outcome) -> Final {
    match (&outcome.endings, &outcome.verdict) {
        (Some(endings), _) => Final::Several(*endings),
        (None, Verdict::Failed(kind)) => Final::Failed(*kind),
        // A retry is not final and never comes here.
        (None, Verdict::Ok | Verdict::Retry { .. }) => Final::Ok,
    }
}
