//! The messages between the supervisor and one worker.
//!
//! ```text
//! worker:      Bootstrap (its two channels) → Hello → Ready | Refused → Batch …
//! supervisor:                                 Job   → Slice … [Flush]  → Drain
//! ```
//! The worker exits when its channel ends, so it never outlives its supervisor.

mod exit;

use std::fmt;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::codec;
use crate::cookie::{Cookie, CookieUpdate};
use crate::record::ErrorKind;

pub use self::exit::{Exit, ExitFault, ExitUse};

/// Version of this protocol. It is increased when the meaning of a message changes.
pub const PROTOCOL: u32 = 10;

/// The first and only message on the one-shot server: the channel ends that the supervisor keeps.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Carries [`ToWorker`].
    pub to_worker: IpcBytesSender,
    /// Carries [`FromWorker`].
    pub from_worker: IpcBytesReceiver,
}

/// Ids from here on are not inputs. Each is something that the supervisor asks for itself; what its outcome's line holds
/// is the worker's answer and not a record. Up to [`LOGIN_IDS`], they are robots.txt files.
pub const OWN_IDS: u64 = 1 << 63;

/// Ids from here on, up to [`CHECK_IDS`], are the requests of a login.
pub const LOGIN_IDS: u64 = OWN_IDS | 1 << 62;

/// Ids from here on are pages that are asked for once more, to see whether a session has ended.
pub const CHECK_IDS: u64 = LOGIN_IDS | 1 << 61;

/// Supervisor → worker. `J` describes a job; nothing here looks into it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToWorker<J> {
    /// The job; sent once.
    Job(Box<J>),
    /// More targets.
    Slice(Slice),
    /// No targets follow for now. A program that holds back answers should be made to give them.
    Flush,
    /// Finish what has begun, drop what has not, send what is finished, exit 0.
    Drain,
    /// Cookies that another worker was given, or that were there before.
    Cookies(CookieUpdate),
    /// What an earlier run has noted of targets of the slice that follows.
    Notes(Vec<TargetNote>),
}

/// What an earlier run has noted of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetNote {
    /// The target's id.
    pub id: u64,
    /// The note, as a worker made it.
    #[serde(with = "serde_bytes")]
    pub note: Vec<u8>,
}

/// The unit of work sent over IPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Targets, in the order in which they should begin.
    pub targets: Vec<Target>,
}

/// One input, as handed to a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The input's position, from 0.
    pub id: u64,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Whether a failure that may be temporary (a timeout, a 503) comes back as [`Verdict::Retry`].
    pub may_retry: bool,
    /// Whether only the retry budget of its host forbids another attempt, which its record then says.
    pub over_budget: bool,
    /// Whether a refusal ([`Reply::refused`]) comes back as [`Verdict::Retry`] even on the last attempt: the host is
    /// asked more slowly, and the attempt is not counted.
    pub may_defer: bool,
    /// It must not start before this instant, in microseconds of `CLOCK_MONOTONIC`. Such targets come a little ahead
    /// of time, so that their starts are evenly spaced. `None`: it may start at once.
    pub not_before_us: Option<u64>,
    /// The proxy that it goes through; `None`: it goes directly.
    pub exit: Option<Exit>,
    /// The session that it is asked in. A worker that is in a later one sends nothing for it.
    pub session: u32,
    /// The URL, path or lines, byte for byte as given.
    #[serde(with = "serde_bytes")]
    pub input: Vec<u8>,
    /// Values carried along into its record, as [`Kept`](crate::kept::Kept) encodes them; empty if none.
    #[serde(with = "serde_bytes")]
    pub kept: Vec<u8>,
}

impl Target {
    /// Whether it is not an input, but something that the supervisor asks for itself.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.id >= OWN_IDS
    }

    /// Whether it is a robots.txt.
    #[must_use]
    pub const fn is_robots(&self) -> bool {
        self.id >= OWN_IDS && self.id < LOGIN_IDS
    }

    /// Whether it is a request of a login.
    #[must_use]
    pub const fn is_login(&self) -> bool {
        self.id >= LOGIN_IDS && self.id < CHECK_IDS
    }

    /// Whether it is a page that is asked for once more, to see whether the session has ended.
    #[must_use]
    pub const fn is_check(&self) -> bool {
        self.id >= CHECK_IDS
    }
}

/// Worker → supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The worker is up. The supervisor compares builds before it sends anything.
    Hello(Hello),
    /// The worker can do the job and accepts slices.
    Ready {
        /// The sandbox in force, for the summary: `landlock, seccomp`, or `off`.
        sandbox: String,
    },
    /// The job cannot be done by this worker or any other: why.
    Refused(String),
    /// The job cannot go on, in this worker or any other: why.
    GaveUp(String),
    /// A line for the user, from the program that runs in this worker.
    Said(String),
    /// Results.
    Batch(Batch),
    /// Cookies that this worker was given, at most [`COOKIES_MAX`]; before the outcomes of the targets that brought
    /// them.
    Cookies {
        /// The session that they belong to.
        session: u32,
        /// The cookies.
        set: Vec<Cookie>,
    },
}

impl FromWorker {
    /// Whether a message that starts with these bytes may be a long one: results, or what a program says.
    #[must_use]
    pub fn may_be_long(start: &[u8]) -> bool {
        matches!(codec::variant(start), Some(4 | 5))
    }
}

/// Identifies the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The worker's [`PROTOCOL`].
    pub protocol: u32,
    /// The worker's build; it must be that of the supervisor.
    pub build: String,
    /// The worker's process id.
    pub pid: u32,
}

/// Most outcomes in one [`Batch`]. An outcome takes far more memory than bytes on the channel, so without a limit a
/// worker could make the supervisor allocate a multiple of the largest message.
pub const OUTCOMES_MAX: usize = 16 * 1024;

/// Most cookies in one message of a worker, so that it is a short one.
pub const COOKIES_MAX: usize = 16;

/// Largest record, encoded, in bytes. Values are limited before that, but a control character of one
/// byte takes six in JSON, and a message has an end. Reports of a csv job and what a program writes
/// have other limits.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Results, and the credit returned with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Slices that this worker has read from its channel so far.
    pub slices_read: u64,
    /// One entry per finished attempt, in the order of `lines`; at most [`OUTCOMES_MAX`].
    #[serde(deserialize_with = "outcomes")]
    pub outcomes: Vec<Outcome>,
    /// The encoded records, one after the other. `Outcome::line_bytes` says where each ends.
    #[serde(with = "serde_bytes")]
    pub lines: Vec<u8>,
}

impl Batch {
    /// Whether the outcomes divide up the lines without a rest.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let mut lengths = self.outcomes.iter().map(|outcome| outcome.line_bytes);
        lengths.try_fold(0, u64::checked_add) == Some(self.lines.len() as u64)
            && self.outcomes.iter().all(|outcome| {
                let beside = outcome.found_bytes.checked_add(outcome.note_bytes);
                beside.is_some_and(|bytes| bytes <= outcome.line_bytes)
            })
    }
}

/// Reads the outcomes of a batch, up to the limit.
fn outcomes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Outcome>, D::Error> {
    struct Limited;

    impl<'de> Visitor<'de> for Limited {
        type Value = Vec<Outcome>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {OUTCOMES_MAX} outcomes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let announced = sequence.size_hint().unwrap_or_default();
            if announced > OUTCOMES_MAX {
                return Err(A::Error::invalid_length(announced, &self));
            }
            let mut outcomes = Vec::with_capacity(announced);
            while let Some(outcome) = sequence.next_element()? {
                if outcomes.len() == OUTCOMES_MAX {
                    return Err(A::Error::invalid_length(OUTCOMES_MAX + 1, &self));
                }
                outcomes.push(outcome);
            }
            Ok(outcomes)
        }
    }

    deserializer.deserialize_seq(Limited)
}

/// How one attempt at one target ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The target's id.
    pub id: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// Body bytes read.
    pub bytes: u64,
    /// When the attempt began, in microseconds since the job began.
    pub started_us: u64,
    /// Duration in microseconds.
    pub elapsed_us: u64,
    /// Part of the duration that this process computed, in microseconds; the rest was waiting.
    pub cpu_us: u64,
    /// How its records ended, if the target was a block of lines or involved a program.
    pub endings: Option<Endings>,
    /// How the server answered the last request; `None` if there was no answer.
    pub reply: Option<Reply>,
    /// The server's `Retry-After`, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
    /// What the last request says about its proxy; `None` if it went directly.
    pub exit_use: Option<ExitUse>,
    /// Whether it failed for good only because the retry budget of its host is used up.
    pub over_budget: bool,
    /// What the answer says about the session; `None` if that is not known.
    pub session: Option<SessionMark>,
    /// Length of its line in [`Batch::lines`], with what follows it; 0 if it has no line ([`Verdict::Retry`]).
    pub line_bytes: u64,
    /// Length of what was found in the page: it follows the record, and stands before the note.
    pub found_bytes: u64,
    /// Length of the note at the end of its line: what a later run should know of the page, or what the page says about
    /// the next one of its list ([`NextPage`](crate::pages::NextPage)).
    pub note_bytes: u64,
}

impl Outcome {
    /// Whether the server said that the page is as an earlier run has noted it.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.note_bytes > 0
            && self.verdict == Verdict::Ok
            && self.reply.is_some_and(|reply| reply.status == 304)
    }

    /// Splits its line into the record and what travels beside it.
    #[must_use]
    pub fn split<'a>(&self, line: &'a [u8]) -> Parts<'a> {
        let before = |all: &'a [u8], bytes: u64| {
            all.split_at(all.len().saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX)))
        };
        let (line, note) = before(line, self.note_bytes);
        let (record, found) = before(line, self.found_bytes);
        Parts { record, found, note }
    }

    /// Number of records, if it is final; `None` if there can be no such number.
    #[must_use]
    pub fn records(&self) -> Option<u64> {
        match &self.endings {
            None => Some(1),
            Some(Endings { ok, parse, child, .. }) => ok.checked_add(*parse)?.checked_add(*child),
        }
    }
}

/// The parts of the line of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The record.
    pub record: &'a [u8],
    /// What was found in the page, for the journal.
    pub found: &'a [u8],
    /// What a later run should know of the page.
    pub note: &'a [u8],
}

/// What an answer says about the session that it was asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionMark {
    /// The number of the session.
    pub number: u32,
    /// Whether the answer is that to somebody who is not logged in. Then the verdict is [`Verdict::Retry`], and there
    /// is no record. Without a [`Reply`], nothing was sent, because the session is over.
    pub is_out: bool,
}

/// What an answer says about its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Time from the end of the request to the first byte of the answer, in microseconds, on a connection that was
    /// already open. It has no part of waiting in the worker. Saturates at 71 minutes.
    pub first_byte_us: u32,
    /// Status of the answer.
    pub status: u16,
    /// Whether the server refused: a 429, a 503, or a page that counts as blocked.
    pub refused: bool,
    /// Requests sent for the target so far: more than one after redirects, or after a connection that was dead.
    pub requests: u16,
    /// The page that came back, if the job notices pages that repeat.
    pub page: Option<PageMark>,
}

/// Recognizes a page that a host answers several URLs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageMark {
    /// Hash of its body: of all bytes, or of its text without tokens and numbers if it speaks of a challenge.
    pub hash: u64,
    /// Whether it speaks of a challenge: a captcha, a check for robots. Alone that means nothing.
    pub challenges: bool,
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// A record with fields.
    Ok,
    /// A record with an error; final.
    Failed(ErrorKind),
    /// No record yet: the failure may be temporary.
    Retry {
        /// The kind of error that the record would have had.
        kind: ErrorKind,
    },
}

/// How the records of one target ended, if there may be several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endings {
    /// Records with a value.
    pub ok: u64,
    /// Lines that are not JSON.
    pub parse: u64,
    /// Lines on which the program failed.
    pub child: u64,
    /// Those of them on which the program died, or did not answer, on every attempt.
    pub quarantined: u64,
    /// Attempts after which a line was tried again.
    pub retries: u64,
}

impl Endings {
    /// Number of records.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.ok + self.parse + self.child
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{CodecError, Joiner, send};

    fn outcome(line_bytes: u64) -> Outcome {
        Outcome {
            id: 1,
            verdict: Verdict::Ok,
            bytes: 0,
            started_us: 0,
            elapsed_us: 0,
            cpu_us: 0,
            endings: None,
            reply: None,
            retry_after_ms: None,
            exit_use: None,
            over_budget: false,
            session: None,
            line_bytes,
            found_bytes: 0,
            note_bytes: 0,
        }
    }

    #[test]
    fn lines_that_no_outcome_or_too_many_claim_do_not_add_up() {
        for (lengths, bytes, adds_up) in [
            (vec![], 0, true),
            (vec![2, 0, 3], 5, true),
            (vec![2, 3], 6, false),
            (vec![2, 3], 4, false),
            (vec![u64::MAX, 2], 1, false),
        ] {
            let outcomes = lengths.iter().copied().map(outcome).collect();
            let batch = Batch { slices_read: 0, outcomes, lines: vec![0; bytes] };
            assert_eq!(batch.adds_up(), adds_up, "{lengths:?} of {bytes}");
        }
        for (note_bytes, adds_up) in [(0, true), (2, true), (3, false)] {
            let outcomes = vec![Outcome { note_bytes, ..outcome(2) }];
            let batch = Batch { slices_read: 0, outcomes, lines: vec![0; 2] };
            assert_eq!(batch.adds_up(), adds_up, "a note of {note_bytes} in 2");
        }
        for (found_bytes, note_bytes, adds_up) in [(1, 1, true), (2, 1, false), (u64::MAX, 1, false)] {
            let outcomes = vec![Outcome { found_bytes, note_bytes, ..outcome(2) }];
            let batch = Batch { slices_read: 0, outcomes, lines: vec![0; 2] };
            assert_eq!(batch.adds_up(), adds_up, "{found_bytes} and {note_bytes} in 2");
        }
    }

    #[test]
    fn a_batch_with_more_outcomes_than_any_worker_sends_is_refused() {
        for (count, is_read) in [(OUTCOMES_MAX, true), (OUTCOMES_MAX + 1, false)] {
            let batch = Batch { outcomes: vec![outcome(0); count], ..Batch::default() };
            let (mut joiner, mut read) = (Joiner::default(), None);
            let sent: Result<(), CodecError> = send(&batch, &mut Vec::new(), |piece| {
                read = joiner.push::<Batch>(piece)?;
                Ok(())
            })
            .unwrap();
            assert_eq!(sent.is_ok() && read == Some(batch), is_read, "{count}");
        }
    }

    #[test]
    fn results_and_what_a_program_says_may_be_long() {
        let hello = Hello { protocol: PROTOCOL, build: "b".to_owned(), pid: 1 };
        for (message, may_be_long) in [
            (FromWorker::Hello(hello), false),
            (FromWorker::Ready { sandbox: "off".to_owned() }, false),
            (FromWorker::Refused("why".to_owned()), false),
            (FromWorker::GaveUp("why".to_owned()), false),
            (FromWorker::Said("line".to_owned()), true),
            (FromWorker::Batch(Batch::default()), true),
            (FromWorker::Cookies { session: 0, set: Vec::new() }, false),
        ] {
            let mut sent = Vec::new();
            send(&message, &mut sent, |_| Ok::<_, ()>(())).unwrap().unwrap();
            assert_eq!(FromWorker::may_be_long(&sent[1..]), may_be_long, "{message:?}");
        }
        assert!(!FromWorker::may_be_long(&[]));
    }

    #[test]
    fn counts_of_records_that_overflow_are_none() {
        let endings = |ok, parse, child| Some(Endings { ok, parse, child, ..Endings::default() });
        for (endings, records) in
            [(None, Some(1)), (endings(1, 2, 3), Some(6)), (endings(u64::MAX, 0, 1), None)]
        {
            assert_eq!(Outcome { endings, ..outcome(0) }.records(), records);
        }
    }
}
