//! What is done to one target: wait for its bytes, then compute its record.
//!
//! The two halves are apart because an event loop interleaves the first and
//! cannot interleave the second. Whatever goes wrong with a target ends as its
//! record; nothing here fails as a whole once it is set up.

pub(crate) mod csv;
pub mod decode;
pub mod extract;
pub mod fetch;
mod files;
pub(crate) mod map;
mod media_type;
mod sitemap;
mod warc;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::future::poll_fn;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shared::black_box::{BlackBox, Phase};
use shared::clock;
use shared::job::{Executor, FetchSpec, JobSpec, RecordEncoding, Work};
use shared::protocol::{Outcome, Target, Verdict};
use shared::record::{ErrorKind, FieldValue, Fields, Record, RecordError, kept};
use shared::select;
use shared::warc::without_credentials;
use url::Url;

use crate::Hook;
use crate::want::Want;

use self::csv::Csv;
use self::extract::{Body, Extractor, Kind, Page};
use self::fetch::tape::Tape;
use self::fetch::{Failure, Fetched, blocking, event_loop};
use self::files::{Files, Opened};
use self::media_type::MediaType;
use self::sitemap::Listing;
use self::warc::{About, Archivist};

/// Largest record, encoded, in bytes. Values are bounded before; but a control character of one
/// byte takes six in JSON, and a message has an end.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// How targets become bytes.
enum Opener {
    Blocking(blocking::Client),
    EventLoop(event_loop::Client),
    Files(Files),
    /// Parts of files, read as they are aggregated.
    Csv(Box<Csv>),
}

impl Opener {
    fn fetching(spec: &FetchSpec, executor: Executor, archives: bool, want: Want) -> anyhow::Result<Self> {
        match executor {
            Executor::Blocking => {
                let client =
                    blocking::Client::new(spec, want).context("cannot set up the blocking client")?;
                if archives {
                    client.name_peers();
                }
                Ok(Self::Blocking(client))
            }
            Executor::EventLoop => {
                let client =
                    event_loop::Client::new(spec, want).context("cannot set up the event loop's client")?;
                if archives {
                    client.name_peers();
                }
                Ok(Self::EventLoop(client))
            }
        }
    }
}

/// A job's work on one target, ready to be repeated.
pub(crate) struct Pipeline {
    opener: Opener,
    /// Whether a body is a sitemap, and its entries are wanted.
    reads_sitemaps: bool,
    /// Writes the records, when they are an archive's.
    archivist: Option<Archivist>,
    extractor: Extractor,
    names: Vec<String>,
    parse_timeout: Duration,
    slot: u32,
    job_started_us: u64,
    black_box: Arc<BlackBox>,
    want: Want,
    hook: Option<Hook>,
}

/// What came back for a target, before anything was computed of it.
#[derive(Debug)]
pub(crate) struct Answer {
    started_us: u64,
    arrived: Arrived,
    tape: Tape,
}

#[derive(Debug)]
enum Arrived {
    Response(Result<Fetched, Box<Failure>>),
    /// Files are read while they are parsed: a first match may be all that is needed of them.
    Path,
}

/// What a record is made of once everything is known.
#[derive(Debug, Default)]
struct Findings {
    final_url: Option<Url>,
    status: Option<u16>,
    bytes: Option<u64>,
    charset: Option<&'static str>,
    values: Vec<FieldValue>,
    /// What a sitemap lists; stands in place of the record.
    listing: Option<Listing>,
    problem: Option<Problem>,
}

#[derive(Debug)]
struct Problem {
    kind: ErrorKind,
    message: String,
    may_pass: bool,
    retry_after: Option<Duration>,
}

impl Problem {
    fn of_page(kind: ErrorKind, message: String) -> Option<Self> {
        Some(Self { kind, message, may_pass: false, retry_after: None })
    }
}

impl Pipeline {
    /// Sets up what `job` asks for.
    pub(crate) fn new(job: &JobSpec, black_box: Arc<BlackBox>, hook: Option<Hook>) -> anyhow::Result<Self> {
        let archivist = match job.encoding {
            // A row is made of the finished line, where that leaves.
            RecordEncoding::JsonLine | RecordEncoding::Row(_) => None,
            RecordEncoding::Warc(spec) => Some(Archivist::new(spec)),
        };
        let want = Want::shown_in(Arc::clone(&black_box));
        let opener = match &job.work {
            Work::Csv(spec) => Opener::Csv(Box::new(Csv::new((**spec).clone(), job.slot, want.clone()))),
            Work::Parse(parse) => Opener::Files(Files::new(parse, want.clone())),
            // Nothing is opened: its targets go to the program as they are.
            Work::Map(_) => Opener::Files(Files::default()),
            Work::Fetch(fetch) | Work::Sitemap(fetch) => {
                Opener::fetching(fetch, job.executor, archivist.is_some(), want.clone())?
            }
        };
        Ok(Self {
            opener,
            extractor: Extractor::new(&job.fields, job.each.as_ref(), &job.presets)?,
            names: select::names(&job.fields, job.each.as_ref(), &job.presets),
            reads_sitemaps: matches!(job.work, Work::Sitemap(_)),
            archivist,
            parse_timeout: job.parse_timeout,
            slot: job.slot,
            job_started_us: job.started_us,
            black_box,
            want,
            hook,
        })
    }

    /// Why this worker cannot go on, if it cannot: this machine has no more of what it needs. What it did last is
    /// no record then.
    pub(crate) fn hopeless(&self) -> Option<&str> {
        self.want.hopeless()
    }

    /// All of one target, on this thread; appends its record to `line`.
    pub(crate) fn run_blocking(&mut self, target: &Target, line: &mut Vec<u8>) -> Outcome {
        let started_us = clock::monotonic_us();
        let mut tape = Tape::new(self.archivist.is_some());
        let arrived = match &mut self.opener {
            Opener::Blocking(client) => {
                self.black_box.enter(target.id, Phase::Fetch, started_us);
                strike(self.hook, Phase::Fetch, target);
                Arrived::Response(with_url(target, |url| client.fetch(url, &mut tape)))
            }
            Opener::EventLoop(_) | Opener::Files(_) | Opener::Csv(_) => Arrived::Path,
        };
        self.compute(target, Answer { started_us, arrived, tape }, line)
    }

    /// The waiting half, interleaved with that of other targets.
    pub(crate) async fn wait_for(&self, target: &Target) -> Answer {
        let started_us = clock::monotonic_us();
        let mut tape = Tape::new(self.archivist.is_some());
        let arrived = match &self.opener {
            Opener::EventLoop(client) => Arrived::Response(match std::str::from_utf8(&target.input) {
                Ok(url) => self.named(target, client.fetch(url, &mut tape)).await,
                Err(_) => Err(not_utf8()),
            }),
            Opener::Blocking(_) | Opener::Files(_) | Opener::Csv(_) => Arrived::Path,
        };
        Answer { started_us, arrived, tape }
    }

    /// Lets `work` run on, the black box naming `target` each time: a wait is also decompression, which can kill.
    async fn named<T>(&self, target: &Target, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut hook = self.hook;
        poll_fn(|context| {
            self.black_box.enter(target.id, Phase::Fetch, clock::monotonic_us());
            strike(hook.take(), Phase::Fetch, target);
            let polled = work.as_mut().poll(context);
            self.black_box.leave();
            polled
        })
        .await
    }

    /// The computing half: extracts the fields and appends the record to `line`.
    pub(crate) fn compute(&self, target: &Target, answer: Answer, line: &mut Vec<u8>) -> Outcome {
        if let Opener::Csv(csv) = &self.opener {
            return self.aggregate(csv, target, line);
        }
        let begun_us = clock::monotonic_us();
        self.black_box.enter(target.id, Phase::Extract, begun_us);
        strike(self.hook, Phase::Extract, target);
        let is_file = matches!(answer.arrived, Arrived::Path);
        let mut findings = match answer.arrived {
            Arrived::Response(Ok(fetched)) => self.read_response(fetched),
            Arrived::Response(Err(failure)) => Findings::from(*failure),
            Arrived::Path => self.read_file(target),
        };
        let ended_us = clock::monotonic_us();
        let elapsed_us = ended_us.saturating_sub(answer.started_us);
        let mut verdict = findings.verdict(target);
        let before = line.len();
        if !matches!(verdict, Verdict::Retry { .. }) {
            self.black_box.enter(target.id, Phase::Encode, ended_us);
            self.write(target, &findings, is_file, elapsed_us, &answer.tape, line);
            let bytes = line.len() - before;
            if bytes > RECORD_BYTES_MAX {
                line.truncate(before);
                let message =
                    format!("the record came to {bytes} bytes, above the limit of {RECORD_BYTES_MAX}");
                findings.problem = Problem::of_page(ErrorKind::TooLarge, message);
                findings.listing = None;
                verdict = findings.verdict(target);
                self.write(target, &findings, is_file, elapsed_us, &Tape::new(false), line);
            }
        }
        self.black_box.leave();
        let cpu_us = clock::monotonic_us().saturating_sub(begun_us);
        if let Opener::EventLoop(client) = &self.opener {
            client.stall().add(Duration::from_micros(cpu_us));
        }
        Outcome {
            id: target.id,
            verdict,
            bytes: findings.bytes.unwrap_or(0),
            started_us: answer.started_us.saturating_sub(self.job_started_us),
            elapsed_us,
            cpu_us,
            endings: None,
            reply: None,
            line_bytes: (line.len() - before) as u64,
        }
    }

    /// A part of a CSV file: the line is a report, which the supervisor merges.
    fn aggregate(&self, csv: &Csv, target: &Target, line: &mut Vec<u8>) -> Outcome {
        let started_us = clock::monotonic_us();
        self.black_box.enter(target.id, Phase::Extract, started_us);
        if let Some(hook) = self.hook {
            hook(Phase::Extract, csv.path(&target.input));
        }
        let before = line.len();
        let bytes = csv.run(&target.input, &self.black_box, line);
        self.black_box.leave();
        let elapsed_us = clock::monotonic_us().saturating_sub(started_us);
        Outcome {
            id: target.id,
            verdict: Verdict::Ok,
            bytes,
            started_us: started_us.saturating_sub(self.job_started_us),
            elapsed_us,
            cpu_us: elapsed_us,
            endings: None,
            reply: None,
            line_bytes: (line.len() - before) as u64,
        }
    }

    fn read_response(&self, fetched: Fetched) -> Findings {
        if self.reads_sitemaps {
            return read_sitemap(fetched);
        }
        let media_type = fetched.content_type.as_deref().and_then(MediaType::extract);
        let media_type = media_type.as_ref();
        let page = Page {
            kind: Kind::of_content_type(media_type.map(|media_type| media_type.essence.as_str())),
            content_type_charset: media_type.and_then(|media_type| media_type.charset.as_deref()),
            url: Some(&fetched.final_url),
            parse_timeout: self.parse_timeout,
        };
        let mut findings = Findings { status: Some(fetched.status), ..Findings::default() };
        self.extract(page, &mut Cursor::new(fetched.body.as_slice()), &mut findings);
        findings.bytes = Some(fetched.body.len() as u64);
        findings.final_url = Some(fetched.final_url);
        findings
    }

    fn read_file(&self, target: &Target) -> Findings {
        let Opener::Files(files) = &self.opener else { return Findings::default() };
        let mut findings = Findings::default();
        match files.open(&target.input) {
            Err(why) => findings.problem = Problem::of_page(ErrorKind::Parse, why),
            Ok(Opened::TooLarge(bytes)) => {
                findings.bytes = Some(bytes);
                findings.problem = Problem::of_page(
                    ErrorKind::TooLarge,
                    format!("{bytes} bytes, above the limit of {}", files.body_bytes_max()),
                );
            }
            Ok(Opened::Page(mut body, bytes)) => {
                findings.bytes = Some(bytes);
                let extension = Path::new(OsStr::from_bytes(&target.input)).extension();
                let page = Page {
                    kind: Kind::of_extension(extension.and_then(OsStr::to_str)),
                    content_type_charset: None,
                    url: None,
                    parse_timeout: self.parse_timeout,
                };
                self.extract(page, &mut *body, &mut findings);
            }
        }
        findings
    }

    fn extract(&self, page: Page<'_>, body: &mut dyn Body, findings: &mut Findings) {
        match self.extractor.extract(page, body) {
            Ok(extracted) => {
                findings.charset = Some(extracted.charset);
                findings.values = extracted.values;
            }
            Err(error) => findings.problem = Problem::of_page(error.kind(), error.to_string()),
        }
    }

    fn write(
        &self,
        target: &Target,
        findings: &Findings,
        is_file: bool,
        elapsed_us: u64,
        tape: &Tape,
        line: &mut Vec<u8>,
    ) {
        if let Some(listing) = &findings.listing {
            return listing.write(target.id, line);
        }
        let mut input = String::from_utf8_lossy(&target.input);
        if self.archivist.is_some() {
            input = Cow::Owned(without_credentials(&input).into_owned());
        }
        #[expect(clippy::cast_precision_loss, reason = "shown to a tenth of a millisecond")]
        let elapsed_ms = elapsed_us as f64 / 1e3;
        let record = Record {
            id: target.id,
            url: (!is_file).then_some(&*input),
            path: is_file.then_some(&*input),
            keep: kept(&target.kept),
            final_url: findings.final_url.as_ref().map(Url::as_str),
            status: findings.status,
            attempts: target.attempt,
            worker: self.slot,
            elapsed_ms: Some(elapsed_ms),
            // How much of a failed body arrived depends on how the network cut it; records do not.
            bytes: findings.bytes.filter(|_| findings.problem.is_none()),
            charset: findings.charset,
            fields: findings
                .problem
                .is_none()
                .then_some(Fields { names: &self.names, values: &findings.values }),
            error: findings.problem.as_ref().map(|problem| RecordError {
                kind: problem.kind,
                message: &problem.message,
                evidence: None,
            }),
        };
        // Encoding plain data into memory does not fail.
        let Some(archivist) = &self.archivist else {
            let _ = record.write_line(line);
            return;
        };
        let mut json = Vec::new();
        let _ = record.write_line(&mut json);
        let final_url = findings.final_url.as_ref();
        archivist.write(About { id: target.id, input: &input, final_url, json: &json }, tape, line);
    }
}

fn read_sitemap(fetched: Fetched) -> Findings {
    let mut findings = Findings {
        status: Some(fetched.status),
        bytes: Some(fetched.body.len() as u64),
        final_url: Some(fetched.final_url),
        ..Findings::default()
    };
    match sitemap::read(&fetched.body) {
        Ok(listing) => findings.listing = Some(listing),
        Err(error) => findings.problem = Problem::of_page(error.kind(), error.to_string()),
    }
    findings
}

impl Findings {
    fn verdict(&self, target: &Target) -> Verdict {
        match &self.problem {
            None => Verdict::Ok,
            Some(problem) if problem.may_pass && target.may_retry => Verdict::Retry {
                kind: problem.kind,
                after_ms: problem
                    .retry_after
                    .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            },
            Some(problem) => Verdict::Failed(problem.kind),
        }
    }
}

impl From<Failure> for Findings {
    fn from(failure: Failure) -> Self {
        Self {
            final_url: failure.final_url,
            status: failure.status,
            bytes: Some(failure.bytes),
            problem: Some(Problem {
                kind: failure.kind,
                message: failure.message,
                may_pass: failure.may_pass,
                retry_after: failure.retry_after,
            }),
            ..Self::default()
        }
    }
}

fn strike(hook: Option<Hook>, phase: Phase, target: &Target) {
    if let Some(hook) = hook {
        hook(phase, &target.input);
    }
}

fn with_url(
    target: &Target,
    fetch: impl FnOnce(&str) -> Result<Fetched, Box<Failure>>,
) -> Result<Fetched, Box<Failure>> {
    match std::str::from_utf8(&target.input) {
        Ok(url) => fetch(url),
        Err(_) => Err(not_utf8()),
    }
}

fn not_utf8() -> Box<Failure> {
    Box::new(Failure {
        kind: ErrorKind::InvalidUrl,
        message: "not a URL: it is not UTF-8".to_owned(),
        final_url: None,
        status: None,
        bytes: 0,
        may_pass: false,
        retry_after: None,
    })
}
