//! Where records come together: lines that workers encoded, and those of
//! inputs that no worker could answer for.

use std::time::Instant;

use crossbeam_channel::TrySendError;
use shared::clock;
use shared::job::Work;
use shared::protocol::{Batch, Outcome, Verdict};
use shared::record::{ErrorKind, Record, RecordError};

use super::{Runtime, Stage};
use crate::pool::{Disposition, Quarantined, Seat};

impl Runtime<'_> {
    pub(super) fn on_batch(&mut self, now: Instant, seat: Seat, batch: &Batch) {
        self.dispositions.clear();
        self.pool.handle_batch(now, seat, batch, &mut self.dispositions);
        let mut lines = batch.lines.as_slice();
        for (outcome, disposition) in batch.outcomes.iter().zip(&self.dispositions) {
            let length = usize::try_from(outcome.line_bytes).unwrap_or(usize::MAX).min(lines.len());
            let (line, rest) = lines.split_at(length);
            lines = rest;
            match disposition {
                Disposition::Stale => {}
                Disposition::Retried => self.stage.gather.record(seat.slot, outcome),
                Disposition::Final => {
                    self.stage.gather.record(seat.slot, outcome);
                    emit(&mut self.stage, &mut self.out, outcome.id, line);
                }
            }
        }
    }

    /// The worker cannot write this record any more, so we do.
    pub(super) fn quarantine(&mut self, quarantined: &Quarantined) {
        let at_us = clock::monotonic_us().saturating_sub(self.job.started_us);
        self.stage.gather.quarantined(quarantined.slot, quarantined.kind, at_us);
        let error = RecordError {
            kind: quarantined.kind,
            message: &quarantined.message,
            evidence: Some(quarantined.evidence.clone()),
        };
        self.write_error(quarantined.id, &quarantined.input, quarantined.slot, quarantined.attempts, error);
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
        self.write_error(id, input, 0, 1, RecordError { kind, message: why, evidence: None });
    }

    fn is_fetch(&self) -> bool {
        matches!(self.job.work, Work::Fetch(_))
    }

    /// Writes a record that no worker can write.
    fn write_error(&mut self, id: u64, input: &[u8], slot: u32, attempts: u32, error: RecordError<'_>) {
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
            emit(&mut self.stage, &mut self.out, id, &line);
        }
    }

    /// Hands this turn's lines to the writer, or keeps them while it is behind.
    pub(super) fn write_out(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let Some(buffers) = self.stage.writer.buffers() else { return };
        match buffers.try_send(std::mem::take(&mut self.out)) {
            Ok(()) => {}
            Err(TrySendError::Full(out)) => self.out = out,
            // The writer has failed, and says so itself.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Hands the last lines over. Whoever reads them may be slow; a signal ends the waiting.
    pub(super) fn flush(&mut self) {
        let Some(buffers) = self.stage.writer.buffers().filter(|_| !self.out.is_empty()) else { return };
        let out = std::mem::take(&mut self.out);
        crossbeam_channel::select! {
            send(buffers, out) -> _ => {}
            recv(self.stage.signals.stopping()) -> _ => self.ended.output_failed = true,
        }
    }
}

/// A record is final: in order if asked, else as it comes.
fn emit(stage: &mut Stage<'_>, out: &mut Vec<u8>, id: u64, line: &[u8]) {
    match &mut stage.ordered {
        None => out.extend_from_slice(line),
        Some(ordered) => {
            // The pool lets one result of a target through, so this cannot fail.
            let _ = ordered.put(id, line, out);
        }
    }
}
