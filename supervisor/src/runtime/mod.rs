//! The only part that touches the operating system during a run: starts and
//! reaps processes, moves messages, listens to signals, reads the clock. It
//! decides nothing: it tells the pool what happened and does what the pool says.

mod channel;
pub mod cpus;
mod feed;
pub mod locate;
mod process;
mod signals;
mod writer;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TrySendError, bounded, unbounded};
use nix::sys::signal::Signal;
use shared::clock;
use shared::job::{JobSpec, Work};
use shared::protocol::{Batch, FromWorker, Outcome, PROTOCOL, ToWorker, Verdict};
use shared::record::{ErrorKind, Record, RecordError};

pub use self::feed::Feed;
pub use self::writer::Writer;

use self::channel::Heard;
use self::process::Process;
use self::signals::SignalThread;
use crate::frontier::HostRef;
use crate::gather::{Gather, Ordered};
use crate::pool::{Command, Disposition, Event, Pool, Quarantined, Seat};
use crate::progress::{Progress, Snapshot, Total};
use crate::source::{SourceError, SourceItem};

/// Targets kept in the frontier. Enough hosts to choose from when most of them
/// are waiting, and about 10 MiB.
const BACKLOG_MAX: u64 = 65_536;

/// With ordered output, no target is begun this far past the oldest unfinished one.
const ORDERED_WINDOW: u64 = 8_192;

/// Messages of workers taken in one turn of the loop before signals are looked at again.
const HEARD_PER_TURN: usize = 64;

/// Messages that may wait for the loop; when it does not keep up, its workers' sends block.
const HEARD_WAITING: usize = 64;

/// What a run shares with the runs before and after it: a probe and the main
/// part of `auto` are two runs over one source and one output.
pub struct Stage<'a> {
    /// Where targets come from.
    pub feed: &'a mut Feed,
    /// Where records go.
    pub writer: &'a mut Writer,
    /// Counts.
    pub gather: &'a mut Gather,
    /// Puts records in order, if that was asked for.
    pub ordered: Option<&'a mut Ordered>,
    /// What the user sees.
    pub progress: &'a mut Progress,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// The signal that stopped it, if one did.
    pub signal: Option<i32>,
    /// Why the pool gave up or the source could not be read, if so.
    pub failure: Option<String>,
    /// Whether the output failed; [`Writer::finish`] has the reason.
    pub output_failed: bool,
    /// Targets taken from the source that have no record.
    pub left: u64,
}

impl Ended {
    /// Whether everything that was to be done is done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.signal.is_none() && self.failure.is_none() && !self.output_failed
    }
}

/// Why a run could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Signal handlers or threads could not be set up.
    #[error("cannot set up signal handling: {0}")]
    Signals(#[source] io::Error),
}

/// One run of one pool.
pub struct Runtime<'a> {
    stage: Stage<'a>,
    worker: PathBuf,
    job: JobSpec,
    pool: Pool,
    processes: Vec<Option<(Seat, Process)>>,
    heard_sender: Sender<Heard>,
    heard: Receiver<Heard>,
    signals: Receiver<i32>,
    _signal_thread: SignalThread,
    dispositions: Vec<Disposition>,
    /// Lines gathered in this turn, on their way to the writer.
    out: Vec<u8>,
    /// Targets still to be taken from the feed in this run.
    budget: u64,
    source_told: bool,
    ended: Ended,
}

impl<'a> Runtime<'a> {
    /// Prepares a run of `pool` that takes at most `budget` targets; `job` is what each worker is told, its slot filled in.
    ///
    /// # Errors
    /// [`RuntimeError`] when signals cannot be handled.
    pub fn new(
        stage: Stage<'a>,
        worker: PathBuf,
        job: JobSpec,
        pool: Pool,
        budget: u64,
    ) -> Result<Self, RuntimeError> {
        let (heard_sender, heard) = bounded(HEARD_WAITING);
        let (signal_sender, signals) = unbounded();
        let signal_thread = SignalThread::start(signal_sender).map_err(RuntimeError::Signals)?;
        Ok(Self {
            stage,
            worker,
            job,
            pool,
            processes: Vec::new(),
            heard_sender,
            heard,
            signals,
            _signal_thread: signal_thread,
            dispositions: Vec::new(),
            out: Vec::new(),
            budget,
            source_told: false,
            ended: Ended::default(),
        })
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(mut self) -> Ended {
        loop {
            self.take_targets();
            self.carry_out_all();
            self.write_out();
            if self.pool.is_over() {
                break;
            }
            self.wait();
            self.turn();
        }
        self.ended.left = self.pool.counts().left();
        if self.ended.failure.is_none() {
            self.ended.failure = self.pool.failure().map(str::to_owned);
        }
        self.flush_blocking();
        self.ended
    }

    /// Sleeps until something happens or is due.
    fn wait(&self) {
        let mut select = Select::new();
        select.recv(&self.signals);
        if !self.ended.output_failed {
            select.recv(self.stage.writer.failed());
        }
        match self.stage.writer.buffers() {
            // The output is behind: no new records until it has caught up.
            Some(buffers) if !self.out.is_empty() => {
                select.send(buffers);
            }
            Some(_) | None => {
                select.recv(&self.heard);
            }
        }
        if self.wants_targets() {
            select.recv(self.stage.feed.incoming());
        }
        let tick = self.stage.progress.due(clock::now());
        let deadline = self.pool.poll_timeout().into_iter().chain(tick).min();
        match deadline {
            Some(deadline) => drop(select.ready_deadline(deadline)),
            None => drop(select.ready()),
        }
    }

    /// Takes in whatever is there, without waiting.
    fn turn(&mut self) {
        let now = clock::now();
        while let Ok(signal) = self.signals.try_recv() {
            self.on_signal(now, signal);
        }
        if !self.ended.output_failed && self.writer_is_gone() {
            self.ended.output_failed = true;
            self.pool.handle_event(now, Event::Kill);
        }
        if self.out.is_empty() {
            for _ in 0..HEARD_PER_TURN {
                let Ok(heard) = self.heard.try_recv() else { break };
                self.on_heard(now, heard);
            }
        }
        if self.pool.poll_timeout().is_some_and(|at| at <= now) {
            self.pool.handle_timeout(now);
        }
        if self.stage.progress.due(now).is_some_and(|due| due <= now) {
            let snapshot = self.snapshot();
            self.stage.progress.tick(now, &snapshot);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let counts = self.stage.gather.counts();
        let position = self.stage.feed.position();
        let total = match position.items_total {
            Some(total) => Total::Exact(total),
            None => Total::estimate(position.items, position.bytes_read, position.bytes_total),
        };
        Snapshot {
            done: counts.items(),
            failed: counts.failed,
            bytes: counts.bytes,
            in_flight: self.pool.counts().assigned,
            total,
        }
    }

    fn writer_is_gone(&self) -> bool {
        matches!(self.stage.writer.failed().try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    fn on_signal(&mut self, now: Instant, signal: i32) {
        if signal == signal_hook::consts::SIGCHLD {
            self.reap(now);
            return;
        }
        let name = crate::pool::signal_name(signal).unwrap_or("a signal");
        if self.ended.signal.replace(signal).is_none() {
            let in_flight = self.pool.counts().assigned;
            self.stage.progress.message(&format!(
                "{name}: finishing {in_flight} targets in flight; once more to stop at once"
            ));
            self.pool.handle_event(now, Event::Drain);
        } else {
            self.stage.progress.message(&format!("{name}: stopping at once"));
            self.pool.handle_event(now, Event::Kill);
        }
    }

    fn reap(&mut self, now: Instant) {
        for (seat, process) in self.processes.iter_mut().flatten() {
            if let Some(death) = process.try_reap() {
                let reading = death.reading;
                self.stage.gather.reaped(seat.slot, Duration::from_micros(reading.cpu_us));
                self.stage.gather.resident(seat.slot, reading.rss_bytes_max);
                self.pool.handle_event(now, Event::Reaped(*seat, death));
            }
        }
    }

    fn on_heard(&mut self, now: Instant, heard: Heard) {
        let event = match heard {
            Heard::Message(seat, FromWorker::Batch(batch)) => return self.on_batch(now, seat, &batch),
            Heard::Message(seat, FromWorker::Hello(hello)) => {
                if hello.protocol == PROTOCOL && hello.build == shared::BUILD_ID {
                    Event::Hello(seat)
                } else {
                    let ours = shared::BUILD_ID;
                    let path = self.worker.display();
                    Event::Refused(
                        seat,
                        format!(
                            "{path} is build {}, this supervisor is build {ours}: install both from one build",
                            hello.build
                        ),
                    )
                }
            }
            Heard::Message(seat, FromWorker::Ready) => Event::Ready(seat),
            Heard::Message(seat, FromWorker::Refused(why)) => Event::Refused(seat, why),
            Heard::Garbled(seat, why) => Event::Garbled(seat, why),
            Heard::Eof(seat) => Event::Eof(seat),
        };
        self.pool.handle_event(now, event);
    }

    fn on_batch(&mut self, now: Instant, seat: Seat, batch: &Batch) {
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

    fn carry_out_all(&mut self) {
        while let Some(command) = self.pool.poll_command() {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Spawn(seat) => self.spawn(seat),
            Command::SendJob(seat) => {
                let job = JobSpec { slot: seat.slot, ..self.job.clone() };
                self.send(seat, ToWorker::Job(Box::new(job)));
            }
            Command::SendSlice(seat, slice) => self.send(seat, ToWorker::Slice(slice)),
            Command::SendDrain(seat) => self.send(seat, ToWorker::Drain),
            Command::Terminate(seat) => self.signal(seat, Signal::SIGTERM),
            Command::Kill(seat) => self.signal(seat, Signal::SIGKILL),
            Command::Sample(seat) => {
                let Some(reading) = self.process(seat).map(Process::reading) else { return };
                self.stage.gather.resident(seat.slot, reading.rss_bytes_max);
                self.pool.handle_event(clock::now(), Event::Sampled(seat, reading, clock::monotonic_us()));
            }
            Command::Forget(seat) => {
                if let Some(place) = self.processes.get_mut(seat.slot as usize)
                    && place.as_ref().is_some_and(|(sits, _)| *sits == seat)
                {
                    *place = None;
                }
            }
            Command::Quarantine(quarantined) => self.quarantine(&quarantined),
            Command::Notice(notice) => self.stage.progress.message(&notice),
        }
    }

    fn spawn(&mut self, seat: Seat) {
        let index = seat.slot as usize;
        if self.processes.len() <= index {
            self.processes.resize_with(index + 1, || None);
        }
        let event = match Process::start(&self.worker, seat, self.heard_sender.clone()) {
            Ok(process) => {
                self.stage.gather.started(seat.slot);
                if let Some(place) = self.processes.get_mut(index) {
                    *place = Some((seat, process));
                }
                Event::Spawned(seat)
            }
            Err(error) => Event::SpawnFailed(seat, error.to_string()),
        };
        self.pool.handle_event(clock::now(), event);
    }

    fn process(&self, seat: Seat) -> Option<&Process> {
        let (sits, process) = self.processes.get(seat.slot as usize)?.as_ref()?;
        (*sits == seat).then_some(process)
    }

    fn send(&self, seat: Seat, message: ToWorker) {
        if let Some(process) = self.process(seat) {
            process.send(message);
        }
    }

    fn signal(&self, seat: Seat, signal: Signal) {
        if let Some(process) = self.process(seat) {
            process.signal(signal);
        }
    }

    /// The worker cannot write this record any more, so we do.
    fn quarantine(&mut self, quarantined: &Quarantined) {
        let at_us = clock::monotonic_us().saturating_sub(self.job.started_us);
        self.stage.gather.quarantined(quarantined.slot, quarantined.kind, at_us);
        let error = RecordError {
            kind: quarantined.kind,
            message: &quarantined.message,
            evidence: Some(quarantined.evidence.clone()),
        };
        self.write_error(quarantined.id, &quarantined.input, quarantined.slot, quarantined.attempts, error);
    }

    fn wants_targets(&self) -> bool {
        !self.source_told && self.pool.backlog() < BACKLOG_MAX && self.in_window()
    }

    fn in_window(&self) -> bool {
        let begun = self.stage.feed.taken();
        self.stage.ordered.as_ref().is_none_or(|ordered| begun < ordered.next_id() + ORDERED_WINDOW)
    }

    /// Fills the frontier from the feed.
    fn take_targets(&mut self) {
        let now = clock::now();
        let mut took = false;
        while self.budget > 0 && self.wants_targets() {
            match self.stage.feed.try_next() {
                Ok(Some(item)) => {
                    self.budget -= 1;
                    took = true;
                    self.take(now, item);
                }
                Ok(None) => break,
                Err(error) => {
                    self.source_failed(now, &error);
                    return;
                }
            }
        }
        let done = self.budget == 0 || self.stage.feed.is_exhausted();
        if done && !self.source_told {
            self.source_told = true;
            self.pool.handle_event(now, Event::SourceEnded);
        } else if took {
            self.pool.handle_timeout(now);
        }
    }

    fn take(&mut self, now: Instant, item: SourceItem) {
        if let Some(why) = &item.refused {
            return self.refuse(item.id, &item.input, why);
        }
        let host = item.host.as_ref().map(|host| HostRef { name: &host.name, loopback: host.loopback });
        self.pool.submit(now, item.id, item.input, host);
    }

    /// No worker could do anything with this input: its record is written here.
    fn refuse(&mut self, id: u64, input: &[u8], why: &str) {
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

    fn source_failed(&mut self, now: Instant, error: &SourceError) {
        self.source_told = true;
        self.ended.failure = Some(error.to_string());
        self.pool.handle_event(now, Event::Drain);
    }

    /// Hands this turn's lines to the writer, or keeps them while it is behind.
    fn write_out(&mut self) {
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

    fn flush_blocking(&mut self) {
        if let Some(buffers) = self.stage.writer.buffers().filter(|_| !self.out.is_empty()) {
            let _ = buffers.send(std::mem::take(&mut self.out));
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
