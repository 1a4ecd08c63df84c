//! Where records come together: lines that workers encoded, and those of
//! inputs that no worker could answer for.

use std::borrow::Cow;
use std::time::Instant;

use crossbeam_channel::TrySendError;
use shared::clock;
use shared::csv::read_part;
use shared::job::Work;
use shared::protocol::{Batch, Outcome, Verdict};
use shared::record::{ErrorKind, Record, RecordError, kept};
use shared::warc;
use supervisor_core::pool::{Disposition, Event, Quarantined, Seat};

use super::Runtime;
use super::writer::Chunk;
use crate::journal::Final;
use crate::merge::shown;

/// An input, and what is carried along with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) input: &'a [u8],
    pub(super) kept: &'a [u8],
}

/// Whose record it would have been, and on which attempt.
#[derive(Debug, Clone, Copy)]
struct By {
    slot: u32,
    attempts: u32,
}

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
                    self.emit(outcome.id, ending(outcome), line);
                }
            }
        }
        self.dispositions = dispositions;
    }

    /// The worker cannot write this record any more, so we do.
    pub(super) fn quarantine(&mut self, quarantined: &Quarantined) {
        let at_us = clock::monotonic_us().saturating_sub(self.job.started_us);
        self.stage.gather.quarantined(quarantined.slot, quarantined.kind, at_us);
        self.stage.observer.set_aside(quarantined);
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
        let by = By { slot: quarantined.slot, attempts: quarantined.attempts };
        let given = Given { input: &quarantined.input, kept: &quarantined.kept };
        self.write_error(quarantined.id, given, by, error, ending);
    }

    /// No worker could do anything with this input: its record is written here.
    pub(super) fn refuse(&mut self, id: u64, given: Given<'_>, why: &str) {
        let kind = if self.is_fetch() { ErrorKind::InvalidUrl } else { ErrorKind::Parse };
        let outcome = Outcome {
            id,
            verdict: Verdict::Failed(kind),
            bytes: 0,
            started_us: clock::monotonic_us().saturating_sub(self.job.started_us),
            elapsed_us: 0,
            cpu_us: 0,
            endings: None,
            reply: None,
            line_bytes: 0,
        };
        self.stage.gather.record(0, &outcome);
        let error = RecordError { kind, message: why, evidence: None };
        self.write_error(id, given, By { slot: 0, attempts: 1 }, error, Final::Failed(kind));
    }

    fn is_fetch(&self) -> bool {
        match self.job.work {
            Work::Fetch(_) | Work::Sitemap(_) => true,
            Work::Parse(_) | Work::Map(_) | Work::Csv(_) => false,
        }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.job.work, Work::Map(_))
    }

    /// Writes a record that no worker can write.
    fn write_error(&mut self, id: u64, given: Given<'_>, by: By, error: RecordError<'_>, ending: Final) {
        let mut input = String::from_utf8_lossy(given.input);
        if self.archivist.is_some() {
            input = Cow::Owned(warc::without_credentials(&input).into_owned());
        }
        let (url, path) = match self.job.work {
            Work::Fetch(_) | Work::Sitemap(_) => (Some(&*input), None),
            Work::Parse(_) | Work::Csv(_) => (None, Some(&*input)),
            // A line says nothing about itself but where it stands.
            Work::Map(_) => (None, None),
        };
        let record = Record {
            id,
            url,
            path,
            keep: kept(given.kept),
            final_url: None,
            status: None,
            attempts: by.attempts,
            worker: by.slot,
            elapsed_ms: None,
            bytes: None,
            charset: None,
            fields: None,
            error: Some(error),
        };
        let mut line = Vec::new();
        if record.write_line(&mut line).is_err() {
            return;
        }
        if let Some(archivist) = &mut self.archivist {
            let json = std::mem::take(&mut line);
            let uri = warc::uri(&input);
            let (date, uri, json) = (clock::wall(), uri.as_deref(), json.as_slice());
            let metadata = warc::Metadata { target: id, date, uri, concurrent_to: None, json };
            archivist.append_metadata(&metadata, &mut line);
        }
        if let Some(rows) = self.job.encoding.rows() {
            rows.replace(&mut line, 0);
        }
        self.emit(id, ending, &line);
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
        let impatience = self.stage.control.impatience();
        crossbeam_channel::select! {
            send(chunks, out) -> _ => {}
            recv(impatience) -> signal => {
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
        let _ = ordered.put_several(id, ending.targets(), line, lines);
        if recorded {
            self.held.insert(id, ending);
            while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() < ordered.next_id()) {
                news.finished.push((*entry.key(), entry.remove()));
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
