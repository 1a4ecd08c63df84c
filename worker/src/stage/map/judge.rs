//! What an answer or a death means for the lines that the program has.

use std::process::ExitStatus;
use std::time::Instant;

use shared::clock;
use shared::protocol::{Outcome, Verdict};
use shared::record::{ErrorKind, Evidence};

use super::caution;
use super::child;
use super::driver::Driver;
use super::json;
use super::life::{ANSWER_BYTES_MAX, Killed, Life};
use super::queue::{Block, Front};
use super::records::{Failed, beginning};

/// The name of the phase in evidence.
const PHASE: &str = "map";

impl Driver {
    /// Handles a line that it wrote.
    pub(super) fn on_line(&mut self, life: &mut Life, line: &[u8], now: Instant) {
        if life.killed.is_some() {
            return;
        }
        let unanswered = self.queue.unanswered();
        if unanswered == 0 {
            self.out_of_step(life, line);
        } else if life.proving || self.spec.batch.is_some() {
            self.first_since = now;
            life.held.push(line.to_vec());
            if life.held.len() > unanswered {
                self.caution.mixed_up(unanswered);
                if !life.proving {
                    let (answers, batch) = (life.held.len(), unanswered);
                    self.say_once(
                        "it answered a batch with more lines than it was given; each is done again by itself",
                        &format!("{answers} for {batch}"),
                    );
                }
                life.kill(Killed::MixedUp);
            }
        } else if unanswered > 1 && !self.records.takes(line) {
            // A greeting, a warning or a wrong answer: while several lines wait, it cannot be told to which
            // of them it belongs.
            self.caution.mixed_up(1);
            life.kill(Killed::MixedUp);
        } else {
            self.accept(life, line, now);
        }
    }

    /// Handles a line too many. Any earlier answer may have been the surplus one, and the records made from them
    /// cannot be taken back. If all of those are errors, none of them holds another line's answer.
    fn out_of_step(&mut self, life: &mut Life, line: &[u8]) {
        life.kill(Killed::MixedUp);
        if life.values == 0 {
            return self.say_once("it wrote more lines than it read and was ended", &beginning(line));
        }
        self.failure = Some(format!(
            "{} wrote more lines than it read (the line too many: {}), so records of worker {} may hold the answers to \
             other lines; make it write one line for each it reads, or have it judged line by line with --batch 1, and \
             start anew with --overwrite",
            child::shown(&self.spec.command),
            beginning(line),
            self.records.slot
        ));
    }

    /// Accepts the answers to a batch once there is one for each line.
    pub(super) fn accept_batch(&mut self, life: &mut Life, now: Instant) {
        if life.proving
            || life.killed.is_some()
            || life.held.is_empty()
            || life.held.len() < self.queue.unanswered()
        {
            return;
        }
        for line in std::mem::take(&mut life.held) {
            self.accept(life, &line, now);
        }
    }

    /// `line` is the answer to the first line that has none.
    fn accept(&mut self, life: &mut Life, line: &[u8], now: Instant) {
        let takes = self.records.takes(line);
        let Front::Asked(block) = self.queue.front() else { return };
        if takes {
            life.values += 1;
            self.records.value(block, line);
        } else {
            let problem = json::problem(line).unwrap_or_default();
            let message = format!("its answer is not JSON ({problem}): {}", beginning(line));
            let attempts = self.caution.attempts() + 1;
            let failed = Failed { kind: ErrorKind::Child, message, evidence: None, attempts };
            self.records.error(block, &failed);
        }
        life.answered += 1;
        self.caution.answered();
        self.queue.advance(true);
        self.first_since = now;
        self.settle();
        if self.queue.unanswered() == 0 {
            self.caution.round_done();
        }
    }

    /// Writes the records of lines that are not JSON, and delivers finished blocks.
    pub(super) fn settle(&mut self) {
        loop {
            match self.queue.front() {
                Front::Asked(_) | Front::Empty => return,
                Front::NoJson(block) => {
                    let problem = json::problem(block.first_line()).unwrap_or_default();
                    let message = format!("the line is not JSON: {problem}");
                    let failed = Failed { kind: ErrorKind::Parse, message, evidence: None, attempts: 1 };
                    self.records.error(block, &failed);
                    self.queue.advance(false);
                }
                Front::Done(block) => self.finish(*block),
            }
        }
    }

    fn finish(&mut self, block: Block) {
        let before = clock::now();
        self.voice.wait_for_room(&self.black_box);
        // The time that the supervisor took does not count against the program.
        let after = clock::now();
        let lost = after.duration_since(before);
        self.first_since = (self.first_since + lost).min(after);
        let now_us = clock::monotonic_us();
        let endings = block.endings;
        let verdict = match (endings.child, endings.parse) {
            (0, 0) => Verdict::Ok,
            (0, _) => Verdict::Failed(ErrorKind::Parse),
            (_, _) => Verdict::Failed(ErrorKind::Child),
        };
        let line_bytes = block.records.len() as u64;
        let started_us = match &block.record {
            Some((outcome, _)) => outcome.started_us,
            None => block.begun_us.unwrap_or(now_us).saturating_sub(self.job_started_us),
        };
        let elapsed_us = now_us.saturating_sub(self.job_started_us + started_us);
        let (bytes, cpu_us) =
            block.record.as_ref().map_or((block.bytes(), 0), |(outcome, _)| (outcome.bytes, outcome.cpu_us));
        let outcome = Outcome {
            id: block.id,
            verdict,
            bytes,
            started_us,
            elapsed_us,
            cpu_us,
            endings: Some(endings),
            reply: block.record.as_ref().and_then(|(outcome, ..)| outcome.reply),
            retry_after_ms: block.record.as_ref().and_then(|(outcome, ..)| outcome.retry_after_ms),
            exit_use: None,
            over_budget: false,
            session: None,
            line_bytes,
            found_bytes: 0,
            note_bytes: 0,
        };
        self.voice.push(outcome, &block.records, self.queue.is_empty());
    }

    /// Handles its death, after all that it wrote.
    pub(super) fn ended(&mut self, mut life: Life, status: ExitStatus, now: Instant) {
        // A line that a signal cut off is not an answer.
        if let Some(partial) = life.take_partial().filter(|_| status.success() && life.killed.is_none()) {
            self.on_line(&mut life, &partial, now);
            self.accept_batch(&mut life, now);
        }
        if life.proving {
            self.judge_alone(&mut life, now);
        } else if life.killed != Some(Killed::MixedUp) {
            // The lines of a batch that it did answer.
            for line in std::mem::take(&mut life.held) {
                self.accept(&mut life, &line, now);
            }
        }
        let unanswered = self.queue.unanswered();
        if unanswered == 0 {
            if !status.success() && life.killed.is_none() {
                self.say_once("it had answered everything and failed nevertheless", &child::in_words(status));
            } else if life.killed == Some(Killed::Lingers) {
                self.say_once("it did not end with its input and was killed", "");
            }
        } else if life.killed == Some(Killed::Endless) {
            let message = format!("its answer has more than {ANSWER_BYTES_MAX} bytes");
            let attempts = self.caution.attempts() + 1;
            self.fail_first(Failed { kind: ErrorKind::Child, message, evidence: None, attempts }, true);
        } else if life.killed != Some(Killed::MixedUp) {
            self.died(&life, status);
        }
        self.queue.rewind();
        self.start_at = now + self.caution.delay();
        self.settle();
    }

    /// Judges a process that was given one line and nothing else: what it wrote is the answer to that line.
    fn judge_alone(&mut self, life: &mut Life, now: Instant) {
        let answers = std::mem::take(&mut life.held);
        match answers.as_slice() {
            [] => {}
            [answer] => self.accept(life, answer, now),
            [first, ..] => {
                let message = format!(
                    "it answered one line with more than one, the first of them: {}",
                    beginning(first)
                );
                let attempts = self.caution.attempts() + 1;
                self.fail_first(Failed { kind: ErrorKind::Child, message, evidence: None, attempts }, true);
            }
        }
    }

    fn died(&mut self, life: &Life, status: ExitStatus) {
        let silent = life.killed == Some(Killed::Silent);
        if status.success() && life.ending.is_some() && life.given > 1 {
            self.say_once(
                "it must write one line for each it reads, or answers go to the wrong lines; --batch 1 makes sure",
                &format!("it ended with {} answers to {} lines", life.answered, life.given),
            );
        }
        let how = if silent {
            let timeout = humantime(self.spec.timeout);
            format!("gave no answer within {timeout} and was killed")
        } else {
            format!("{} before it answered", child::in_words(status))
        };
        match self.caution.died(life.given == 1) {
            caution::Verdict::Again => {}
            caution::Verdict::Retry => {
                if let Front::Asked(block) = self.queue.front() {
                    block.endings.retries += 1;
                }
            }
            caution::Verdict::SetAside => {
                let attempts = self.caution.attempts();
                let evidence = Evidence {
                    signal: child::signal(status),
                    phase: PHASE.to_owned(),
                    rss_bytes: 0,
                    stderr: life.complaints.take(),
                };
                let failed =
                    Failed { kind: ErrorKind::Child, message: how, evidence: Some(evidence), attempts };
                if let Front::Asked(block) = self.queue.front() {
                    block.endings.quarantined += 1;
                }
                self.fail_first(failed, true);
            }
            caution::Verdict::GiveUp => {
                let said = life.complaints.take();
                let last = said.lines().rev().find(|line| !line.trim().is_empty());
                let words =
                    last.map_or_else(String::new, |line| format!(", its last words: {}", line.trim()));
                let command = child::shown(&self.spec.command);
                self.failure = Some(format!("{command} dies whatever it is given: it {how}{words}"));
            }
        }
    }

    /// Gives the first unanswered line an error.
    fn fail_first(&mut self, failed: Failed, written: bool) {
        if let Front::Asked(block) = self.queue.front() {
            self.records.error(block, &failed);
            self.queue.advance(written);
        }
        self.caution.settled();
    }

    /// Tells the user something about the program, once.
    fn say_once(&mut self, what: &'static str, example: &str) {
        if self.said.contains(&what) {
            return;
        }
        self.said.push(what);
        let command = child::shown(&self.spec.command);
        let example = if example.is_empty() { String::new() } else { format!(" ({example})") };
        self.voice.note(format!("worker {}: {command}: {what}{example}", self.records.slot));
    }
}

/// A timeout, for a person.
fn humantime(timeout: std::time::Duration) -> String {
    let ms = timeout.as_millis();
    if ms.is_multiple_of(1000) { format!("{} s", ms / 1000) } else { format!("{ms} ms") }
}
