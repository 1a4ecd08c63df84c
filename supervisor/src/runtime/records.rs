//! Where records come together: lines that workers encoded, and those of
//! inputs that no worker could answer for.

use std::time::Instant;

use crossbeam_channel::TrySendError;
use shared::clock;
use shared::csv::read_part;
use shared::job::Work;
use shared::protocol::{Batch, Outcome, Verdict};
use shared::record::{ErrorKind, Record, RecordError};

use super::Runtime;
use super::writer::Chunk;
use crate::aggregate::shown;
use crate::journal::Final;
use crate::pool::{Disposition, Event, Quarantined, Seat};

impl Runtime<'_> {
    pub(super) fn on_batch(&mut self, now: Instant, seat: Seat, batch: &Batch) {
        let mut dispositions = std::mem::take(&mut self.dispositions);
        dispositions.clear();
        self.pool.handle_batch(now, seat, batch, &mut dispositions);
        let mut lines = batch.lines.as_slice();
        for (outcome, disposition) in batch.outcomes.iter().zip(&dispositions) {
            let length = usize::try_from(outcome.line_bytes).unwrap_or(usize::MAX).min(lines.len());
            let (line, rest) = lines.split_at(length);
            lines = rest;
            match disposition {
                Disposition::Stale => {}
                Disposition::Retried => self.stage.gather.record(seat.slot, outcome),
                Disposition::Final => {
                    self.stage.gather.record(seat.slot, outcome);
                    self.emit(outcome.id, ending(&outcome.verdict), line);
                }
            }
        }
        self.dispositions = dispositions;
    }

    /// The worker cannot write this record any more, so we do.
    pub(super) fn quarantine(&mut self, quarantined: &Quarantined) {
        let at_us = clock::monotonic_us().saturating_sub(self.job.started_us);
        self.stage.gather.quarantined(quarantined.slot, quarantined.kind, at_us);
        if let Work::Csv(spec) = &self.job.work {
            // Groups without one part would be a lie, however small the part.
            let part = read_part(&quarantined.input);
            let file = part.and_then(|part| spec.files.get(part.file() as usize));
            let what = part.zip(file).map(|(part, file)| shown(&file.path.display().to_string(), part));
            let (what, why) = (what.unwrap_or_default(), &quarantined.message);
            self.ended.failure.get_or_insert_with(|| format!("{what}: {why}"));
            return self.pool.handle_event(clock::now(), Event::Kill);
        }
        let error = RecordError {
            kind: quarantined.kind,
            message: &quarantined.message,
            evidence: Some(quarantined.evidence.clone()),
        };
        let ending = Final::Quarantined(quarantined.kind);
        let (id, slot, attempts) = (quarantined.id, quarantined.slot, quarantined.attempts);
        self.write_error(id, &quarantined.input, slot, attempts, error, ending);
    }

    /// No worker could do anything with this input: its record is written here.
    pub(super) fn refuse(&mut self, id: u64, input: &[u8], why: &str) {
        let kind = if self.is_fetch() { ErrorKind::InvalidUrl } else { ErrorKind::Parse };
        let outcome = Outcome {
            id,
            verdict: Verdict::Failed(kind),
            bytes: 0,
            started_us: clock::monotonic_us().saturating_sub(self.job.started_us),
            elapsed_us: 0,
            cpu_us: 0,
            line_bytes: 0,
        };
        self.stage.gather.record(0, &outcome);
        let error = RecordError { kind, message: why, evidence: None };
        self.write_error(id, input, 0, 1, error, Final::Failed(kind));
    }

    fn is_fetch(&self) -> bool {
        matches!(self.job.work, Work::Fetch(_))
    }

    /// Writes a record that no worker can write.
    fn write_error(
        &mut self,
        id: u64,
        input: &[u8],
        slot: u32,
        attempts: u32,
        error: RecordError<'_>,
        ending: Final,
    ) {
        let input = String::from_utf8_lossy(input);
        let (url, path) = if self.is_fetch() { (Some(&*input), None) } else { (None, Some(&*input)) };
        let record = Record {
            id,
            url,
            path,
            final_url: None,
            status: None,
            attempts,
            worker: slot,
            elapsed_ms: None,
            bytes: None,
            charset: None,
            fields: None,
            error: Some(error),
        };
        let mut line = Vec::new();
        if record.write_line(&mut line).is_ok() {
            self.emit(id, ending, &line);
        }
    }

    /// Hands this turn's lines to the writer, or keeps them while it is behind.
    pub(super) fn write_out(&mut self) {
        if self.out.is_empty() {
            return;
        }
        self.sum_up();
        let Some(chunks) = self.stage.writer.chunks() else { return };
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
            // The writer has failed, and says so itself.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Hands the last lines over. Whoever reads them may be slow; a signal ends the waiting.
    pub(super) fn flush(&mut self) {
        self.sum_up();
        let Some(chunks) = self.stage.writer.chunks().filter(|_| !self.out.is_empty()) else { return };
        let out = std::mem::take(&mut self.out);
        if self.killed {
            // The user does not want to wait any more.
            self.ended.abandoned = chunks.try_send(out).is_err_and(|error| error.is_full());
            return;
        }
        crossbeam_channel::select! {
            send(chunks, out) -> _ => {}
            recv(self.stage.signals.stopping()) -> signal => {
                self.ended.signal = signal.ok().or(self.ended.signal);
                self.ended.abandoned = true;
            }
        }
    }

    /// What a journal has to know of the lines that go out.
    fn sum_up(&mut self) {
        let counts = self.stage.gather.counts();
        let news = &mut self.out.news;
        (news.retries, news.bytes) = (counts.retries, counts.bytes);
        news.prefix = self.stage.feed.prefix();
    }

    /// A record is final: in order if asked, else as it comes.
    fn emit(&mut self, id: u64, ending: Final, line: &[u8]) {
        let recorded = self.stage.writer.is_recorded();
        let Chunk { lines, news } = &mut self.out;
        let Some(ordered) = &mut self.stage.ordered else {
            lines.extend_from_slice(line);
            if recorded {
                news.finished.push((id, ending));
            }
            return;
        };
        // The pool lets one result of a target through, so this cannot fail.
        let _ = ordered.put(id, line, lines);
        if recorded {
            self.held.insert(id, ending);
            while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() < ordered.next_id()) {
                news.finished.push((*entry.key(), entry.remove()));
            }
        }
    }
}

const fn ending(verdict: &Verdict) -> Final {
    match verdict {
        Verdict::Failed(kind) => Final::Failed(*kind),
        // A retry is not final and never comes here.
        Verdict::Ok | Verdict::Retry { .. } => Final::Ok,
    }
}
