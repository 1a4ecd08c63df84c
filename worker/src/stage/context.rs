//! What all stages have around them: the black box, the clock, and the encoder that makes records of what they found.

use std::sync::Arc;
use std::time::Duration;

use shared::black_box::{BlackBox, Phase};
use shared::clock;
use shared::crawl::Place;
use shared::encoder::{Begun, Encoder};
use shared::framed;
use shared::job::{JobSpec, Work};
use shared::kept::Kept;
use shared::pages;
use shared::protocol::{Outcome, RECORD_BYTES_MAX, Target, Verdict};
use shared::record::{ErrorKind, Fields, Record, RecordError};
use shared::select;
use url::Url;

use super::fetch::recording::Recording;
use super::findings::{Findings, Product};
use super::warc;
use crate::Hook;
use crate::shortage::Shortages;

/// What a worker's stages share.
pub(crate) struct Context {
    pub(crate) black_box: Arc<BlackBox>,
    encoder: Encoder,
    /// Whether the records of targets that succeeded go on to the user's program.
    goes_on: bool,
    /// Whether what may have been sent is noted, because it must not be sent twice.
    notes_begun: bool,
    /// Whether targets carry where they were found.
    crawls: bool,
    /// Whether pages are followed to the next ones.
    paged: bool,
    names: Vec<String>,
    slot: u32,
    job_started_us: u64,
    shortages: Shortages,
    hook: Option<Hook>,
}

/// How a target ended.
pub(crate) struct Computed {
    pub(crate) outcome: Outcome,
    /// What the record needs besides its line, if it goes on to the user's program.
    pub(crate) begun: Option<Begun>,
}

impl Computed {
    /// The time that the target was computed on.
    pub(super) const fn computing(&self) -> Duration {
        Duration::from_micros(self.outcome.cpu_us)
    }
}

/// A target whose waiting is over.
pub(super) struct Waited<'a> {
    pub(super) target: &'a Target,
    /// When its attempt began.
    pub(super) started_us: u64,
    /// When its computation began.
    pub(super) begun_us: u64,
    /// Whether it is a URL, and not a path.
    pub(super) is_url: bool,
    /// What was sent and received.
    pub(super) recording: &'a Recording,
}

impl Context {
    pub(crate) fn new(
        job: &JobSpec,
        black_box: Arc<BlackBox>,
        shortages: Shortages,
        hook: Option<Hook>,
    ) -> Self {
        Self {
            black_box,
            encoder: Encoder::new(&job.encoding),
            goes_on: job.then.is_some(),
            notes_begun: job.is_at_most_once(),
            crawls: matches!(job.work, Work::Crawl(_)),
            paged: job.follows_pages(),
            names: select::names(&job.fields, job.each.as_ref(), &job.presets),
            slot: job.slot,
            job_started_us: job.started_us,
            shortages,
            hook,
        }
    }

    /// Why this worker cannot go on, if it cannot: the machine has no more of something that it needs. What it did
    /// last makes no record then.
    pub(crate) fn hopeless(&self) -> Option<&str> {
        self.shortages.hopeless()
    }

    /// A recording for one target, which records if there is an archive to write.
    pub(super) fn recording(&self) -> Recording {
        Recording::new(self.encoder.archives())
    }

    /// Notes that something of this target may be sent from now on, if the job wants to know.
    pub(super) fn begin(&self, target: &Target) {
        if self.notes_begun && !target.is_own() {
            self.black_box.begin(target.id);
        }
    }

    /// Enters a phase with a target, for the first time. Returns the time.
    pub(super) fn enter(&self, target: &Target, phase: Phase) -> u64 {
        self.enter_as(target, phase, &target.input)
    }

    /// The same; `input` is what the hook is told.
    pub(super) fn enter_as(&self, target: &Target, phase: Phase, input: &[u8]) -> u64 {
        let now_us = clock::monotonic_us();
        self.black_box.enter(target.id, phase, now_us);
        run_hook(self.hook, phase, input);
        now_us
    }

    /// The hook, for a phase that is entered many times.
    pub(super) const fn hook(&self) -> Option<Hook> {
        self.hook
    }

    /// Ends the work on a target: appends its record to `out`, unless it is to be tried again.
    pub(super) fn conclude(
        &self,
        waited: &Waited<'_>,
        mut findings: Findings,
        out: &mut Vec<u8>,
    ) -> Computed {
        let target = waited.target;
        if let Some(saved) = waited.recording.saved() {
            findings.bytes = Some(saved.bytes);
        }
        let ended_us = clock::monotonic_us();
        let elapsed_us = ended_us.saturating_sub(waited.started_us);
        let reply = waited.recording.reply();
        let refused = reply.is_some_and(|reply| reply.refused);
        let exit_use = waited.recording.exit_use().map(|used| findings.judge_exit(used));
        let leaves_exit = target.exit.zip(exit_use).is_some_and(|(exit, used)| exit.leaves(used));
        let is_excused = target.may_defer && refused;
        findings.end_if_spent(waited.recording.spent(), target.may_retry || is_excused || leaves_exit);
        let mut verdict = findings.verdict(target, is_excused, leaves_exit);
        let retry_after_ms = findings.retry_after_ms();
        let over_budget = findings.end_over_budget(target, &verdict);
        let (before, mut begun) = (out.len(), None);
        if !matches!(verdict, Verdict::Retry { .. }) {
            self.black_box.enter(target.id, Phase::Encode, ended_us);
            begun = self.write(waited, &findings, elapsed_us, waited.recording, out);
            let bytes = out.len() - before;
            if bytes > RECORD_BYTES_MAX {
                out.truncate(before);
                let message =
                    format!("the record came to {bytes} bytes, above the limit of {RECORD_BYTES_MAX}");
                findings.product = Product::problem(ErrorKind::TooLarge, message);
                verdict = findings.verdict(target, false, false);
                begun = self.write(waited, &findings, elapsed_us, &Recording::new(false), out);
            }
        }
        let found_bytes = match (&findings.found, &verdict) {
            (Some(found), Verdict::Ok | Verdict::Failed(_)) if !found.is_empty() => {
                let before = out.len();
                found.encode(out);
                (out.len() - before) as u64
            }
            (Some(_) | None, _) => 0,
        };
        // What a program makes of a record is not noted.
        let note_bytes =
            if begun.is_none() { append_note(waited.recording, &findings, &verdict, out) } else { 0 };
        self.black_box.leave();
        // Nothing else of a host starts while its robots.txt is refused, so its pace need not change.
        let reply = waited.recording.reply().filter(|reply| !(reply.refused && target.is_robots()));
        let outcome = Outcome {
            id: target.id,
            verdict,
            bytes: findings.bytes.unwrap_or(0),
            started_us: waited.started_us.saturating_sub(self.job_started_us),
            elapsed_us,
            cpu_us: clock::monotonic_us().saturating_sub(waited.begun_us),
            endings: None,
            reply,
            retry_after_ms,
            exit_use,
            over_budget,
            session: waited.recording.session_mark(findings.is_logged_out()),
            line_bytes: (out.len() - before) as u64,
            found_bytes,
            note_bytes,
        };
        Computed { outcome, begun }
    }

    /// Ends the work on a target that makes no record, but `line_bytes` of something else.
    pub(super) fn conclude_without_record(
        &self,
        target: &Target,
        started_us: u64,
        bytes: u64,
        line_bytes: usize,
    ) -> Computed {
        self.black_box.leave();
        let elapsed_us = clock::monotonic_us().saturating_sub(started_us);
        let outcome = Outcome {
            id: target.id,
            verdict: Verdict::Ok,
            bytes,
            started_us: started_us.saturating_sub(self.job_started_us),
            elapsed_us,
            cpu_us: elapsed_us,
            endings: None,
            reply: None,
            retry_after_ms: None,
            exit_use: None,
            over_budget: false,
            session: None,
            line_bytes: line_bytes as u64,
            found_bytes: 0,
            note_bytes: 0,
        };
        Computed { outcome, begun: None }
    }

    fn write(
        &self,
        waited: &Waited<'_>,
        findings: &Findings,
        elapsed_us: u64,
        recording: &Recording,
        out: &mut Vec<u8>,
    ) -> Option<Begun> {
        let target = waited.target;
        if target.is_check() {
            return None;
        }
        let (fields, error) = match &findings.product {
            Product::Fields(values) => (Some(Fields { names: &self.names, values }), None),
            Product::Problem(problem) => {
                (None, Some(RecordError { kind: problem.kind, message: &problem.message, evidence: None }))
            }
            Product::Listing(listing) => {
                framed::push(listing, out);
                return None;
            }
            Product::Robots(answer, _) => {
                framed::push(answer, out);
                return None;
            }
            Product::Login(answer, _) => {
                framed::push(answer, out);
                return None;
            }
        };
        let input = String::from_utf8_lossy(&target.input);
        let saved = waited.recording.saved();
        let place = if self.crawls { Place::of(Kept(&target.kept)) } else { None };
        let record = Record {
            id: target.id,
            url: waited.is_url.then_some(&*input),
            path: (!waited.is_url).then_some(&*input),
            keep: Kept(&target.kept),
            depth: place.map(|place| place.depth),
            parent: match place {
                Some(place) => place.parent,
                None => pages::parent_of(target.id).filter(|_| self.paged),
            },
            found: findings.found.as_ref().map(|found| found.len()),
            page: self.paged.then(|| pages::page_of(target.id)),
            final_url: findings.final_url.as_ref().map(Url::as_str),
            status: findings.status,
            attempts: Some(target.attempt),
            worker: Some(self.slot),
            elapsed_us: Some(elapsed_us),
            // How much of a failed body arrived depends on how the network cut it; records do not.
            bytes: findings.bytes.filter(|_| error.is_none() || saved.is_some()),
            charset: findings.charset.as_deref(),
            content_type: saved.map(|saved| saved.content_type.as_str()),
            file: saved.map(|saved| saved.file.as_str()),
            sha256: saved.map(|saved| saved.sha256.as_str()),
            headers: recording.headers(),
            fields,
            value: None,
            error,
        };
        if self.goes_on && error.is_none() {
            return Some(self.encoder.begin(&record, out));
        }
        let archive = self.encoder.archive();
        let exchange =
            archive.map(|mut writer| warc::write_exchanges(&mut writer, target.id, recording, out));
        self.encoder.write(&record, exchange, out);
        None
    }
}

/// Appends what the page says about the next one, or what a later run should know of it: this page, or what an earlier run knows if there is none. Returns
/// its length.
fn append_note(recording: &Recording, findings: &Findings, verdict: &Verdict, out: &mut Vec<u8>) -> u64 {
    if let (Some(next), Verdict::Ok) = (&findings.next, verdict) {
        let before = out.len();
        next.encode(out);
        return (out.len() - before) as u64;
    }
    let Some(condition) = &recording.condition else { return 0 };
    let note = match (verdict, &findings.product) {
        (Verdict::Ok, Product::Fields(fields)) => {
            let mark = recording.reply().and_then(|reply| reply.page);
            condition.note(fields, findings.charset.as_deref(), recording.headers(), mark)
        }
        (Verdict::Failed(_), _) => condition.earlier(),
        (_, _) => None,
    };
    let note = note.unwrap_or_default();
    out.extend_from_slice(&note);
    note.len() as u64
}

/// Tells the hook which input enters which phase.
pub(super) fn run_hook(hook: Option<Hook>, phase: Phase, input: &[u8]) {
    if let Some(hook) = hook {
        hook(phase, input);
    }
}
