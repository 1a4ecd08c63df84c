//! A list that another process reads: the side of the supervisor, and what passes between the two.
//!
//! The lists of a service come from strangers, and may be made to blow up when they are decompressed, decoded or
//! parsed. So a process of its own, the reader, does all of that, with limited memory and in a sandbox; see
//! [`super::reader`]. The supervisor takes finished targets from a pipe.
//!
//! Invariant: nothing that a reader sends is believed before it is checked, and a reader that dies or goes silent
//! costs the list that it reads.

mod message;
mod process;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shared::clock;
use shared::csv::FIELDS_MAX;

use self::process::{MALFORMED, Reader};
use super::{Candidate, LINE_BYTES_MAX, Next, REASON_BYTES_MAX, SourceError, TARGET_BYTES_MAX, TargetKind};
use crate::plan::ListReading;

pub(super) use self::message::{HeaderReply, ListFormat, Reply, Request};

/// The argument that makes this program a reader.
pub(crate) const READER: &str = "--read-list";

/// Memory that a reader may allocate: twice the largest window of a decompressor, and more than the pages of a usual
/// Parquet file.
pub(super) const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a block of lines before its last line.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Longest time in which a reader finds nothing, with gigabytes of blank lines for example.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Longest time for the beginning of a list, with its columns.
const OPENING_MAX: Duration = Duration::from_secs(10);

/// A list that a reader reads.
pub(super) struct RemoteFeed {
    /// The list, for messages.
    path: PathBuf,
    kind: TargetKind,
    reader: Reader,
    targets: VecDeque<Candidate>,
    /// Inputs returned so far.
    given: u64,
    bytes_read: u64,
    ended: bool,
}

impl RemoteFeed {
    /// Starts a reader, and waits until it has found the columns.
    pub(super) fn open(
        path: &Path,
        format: &ListFormat,
        kind: TargetKind,
        lists: ListReading,
    ) -> Result<Self, SourceError> {
        let request = Request::List {
            path: path.to_owned(),
            format: format.clone(),
            kind,
            encoding: lists.encoding.map(|encoding| encoding.name().to_owned()),
            delimiter: lists.delimiter,
        };
        let reader = Reader::start(&request)
            .map_err(|error| SourceError::NoReader { path: path.to_owned(), error })?;
        let path = path.to_owned();
        let targets = VecDeque::new();
        let mut feed = Self { path, kind, reader, targets, given: 0, bytes_read: 0, ended: false };
        match first(&mut feed.reader, clock::now() + OPENING_MAX) {
            Ok(Some(Reply::Opened)) => Ok(feed),
            Ok(Some(Reply::Failed(why))) => Err(SourceError::Told(why)),
            Ok(Some(Reply::Targets(..) | Reply::End | Reply::Header(_))) => Err(feed.ended_early(MALFORMED)),
            Ok(None) => {
                Err(feed.ended_early(&format!("found no beginning of it within {} s", OPENING_MAX.as_secs())))
            }
            Err(why) => Err(feed.ended_early(&why)),
        }
    }

    /// Whether a target has arrived.
    pub(super) fn is_ready(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Bytes of the file that have been read for the targets that have arrived.
    pub(super) const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Returns the next target, of at most `inputs_max` inputs.
    pub(super) fn next(&mut self, inputs_max: usize) -> Result<Next, SourceError> {
        while self.targets.is_empty() {
            if self.ended {
                return Ok(Next::End);
            }
            match self.reader.hear(SILENCE_MAX, None).map_err(|why| self.ended_early(&why))? {
                Some(Reply::Targets(targets, bytes_read))
                    if targets.iter().all(|target| is_sound(target, self.kind)) =>
                {
                    self.targets.extend(targets);
                    self.bytes_read = bytes_read;
                }
                Some(Reply::End) => self.ended = true,
                Some(Reply::Failed(why)) => return Err(SourceError::Told(why)),
                Some(Reply::Targets(..) | Reply::Opened | Reply::Header(_)) => {
                    return Err(self.ended_early(MALFORMED));
                }
                None => return Ok(Next::Later),
            }
        }
        let Some(target) = self.targets.pop_front() else { return Ok(Next::Later) };
        let (target, rest) = cut(target, inputs_max as u64);
        if let Some(rest) = rest {
            self.targets.push_front(rest);
        }
        self.given += target.inputs;
        Ok(Next::Target(target))
    }

    fn ended_early(&self, why: &str) -> SourceError {
        SourceError::Reader { path: self.path.clone(), given: self.given, why: why.to_owned() }
    }
}

/// The time for the headers of all files of a job. Whoever submits a job waits for them.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    until: Instant,
    total: Duration,
}

impl Patience {
    /// Starts the time.
    #[must_use]
    pub fn starting_now(total: Duration) -> Self {
        Self { until: clock::now() + total, total }
    }
}

/// Why a reader gives no header.
pub(super) enum NoHeader {
    /// It cannot be started.
    NoReader(io::Error),
    /// Any other reason, with the file.
    Told(String),
}

/// Has a reader read the first row of a CSV file. Returns what it says, or why not.
pub(super) fn header(path: &Path, request: &Request, patience: Patience) -> Result<HeaderReply, NoHeader> {
    let cannot = |why: &str| {
        NoHeader::Told(format!("cannot read {}: the process that reads it {why}", path.display()))
    };
    let mut reader = Reader::start(request).map_err(NoHeader::NoReader)?;
    match first(&mut reader, patience.until) {
        Ok(Some(Reply::Header(header)))
            if header.names.len() <= FIELDS_MAX && header.names.len() == header.file.fields as usize =>
        {
            Ok(header)
        }
        Ok(Some(Reply::Failed(why))) => Err(NoHeader::Told(why)),
        Ok(Some(Reply::Header(_) | Reply::Targets(..) | Reply::Opened | Reply::End)) => {
            Err(cannot(MALFORMED))
        }
        Ok(None) => {
            let total = patience.total.as_secs();
            Err(cannot(&format!(
                "did not find its first row in time; all files of a job have {total} s together"
            )))
        }
        Err(why) => Err(cannot(&why)),
    }
}

/// Waits for the first answer, at most until then.
fn first(reader: &mut Reader, until: Instant) -> Result<Option<Reply>, String> {
    loop {
        let reply = reader.hear(Duration::MAX, Some(until))?;
        if reply.is_some() || clock::now() >= until {
            return Ok(reply);
        }
    }
}

/// Whether a target is one that reading a list can give.
pub(super) fn is_sound(target: &Candidate, kind: TargetKind) -> bool {
    let bytes = target.input.len() + target.kept.len();
    let inputs = match kind {
        TargetKind::Lines => memchr::memchr_iter(b'\n', &target.input).count() as u64 + 1,
        TargetKind::Url | TargetKind::Path => 1,
    };
    // A block of lines is full when it is large, so one line may come on top.
    let bytes_max =
        if kind == TargetKind::Lines { LINE_BYTES_MAX + BLOCK_BYTES_MAX } else { TARGET_BYTES_MAX };
    target
        .refused
        .as_ref()
        .map_or(target.inputs == inputs, |why| target.inputs == 1 && why.len() <= REASON_BYTES_MAX)
        && bytes <= bytes_max
}

/// Cuts a block of lines off after `inputs_max` lines. Any other target is one input.
fn cut(mut target: Candidate, inputs_max: u64) -> (Candidate, Option<Candidate>) {
    let inputs_max = inputs_max.max(1);
    let last = usize::try_from(inputs_max - 1).unwrap_or(usize::MAX);
    let Some(end) =
        (target.inputs > inputs_max).then(|| memchr::memchr_iter(b'\n', &target.input).nth(last)).flatten()
    else {
        return (target, None);
    };
    let rest = target.input.get(end + 1..).unwrap_or_default().to_vec();
    let rest = Candidate { inputs: target.inputs - inputs_max, ..Candidate::good(rest) };
    target.input.truncate(end);
    target.inputs = inputs_max;
    (target, Some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Candidate {
        Candidate { inputs: text.split('\n').count() as u64, ..Candidate::good(text.into()) }
    }

    #[test]
    fn a_block_is_cut_to_the_lines_that_are_wanted() {
        for (max, want) in [(1, ("a", Some("b\nc"))), (2, ("a\nb", Some("c"))), (3, ("a\nb\nc", None))] {
            let (first, rest) = cut(lines("a\nb\nc"), max);
            assert_eq!((first, rest), (lines(want.0), want.1.map(lines)), "{max}");
        }
    }

    #[test]
    fn a_target_that_no_list_gives_is_not_believed() {
        let good = |bytes: usize| Candidate::good(vec![b'x'; bytes]);
        let refused = |bytes: usize| Candidate { refused: Some("y".repeat(bytes).into()), ..good(1) };
        for (target, kind, want) in [
            (good(TARGET_BYTES_MAX), TargetKind::Url, true),
            (good(TARGET_BYTES_MAX + 1), TargetKind::Url, false),
            (good(TARGET_BYTES_MAX + 1), TargetKind::Lines, true),
            (Candidate { kept: vec![0; TARGET_BYTES_MAX], ..good(1) }, TargetKind::Path, false),
            (Candidate { inputs: 2, ..good(1) }, TargetKind::Url, false),
            (Candidate { inputs: 0, ..good(1) }, TargetKind::Url, false),
            (lines("a\nb"), TargetKind::Lines, true),
            (Candidate { inputs: u64::MAX, ..lines("a\nb") }, TargetKind::Lines, false),
            (refused(100), TargetKind::Url, true),
            (Candidate { inputs: 2, ..refused(100) }, TargetKind::Lines, false),
            (refused(REASON_BYTES_MAX + 1), TargetKind::Url, false),
        ] {
            assert_eq!(is_sound(&target, kind), want, "{kind:?}: {} inputs", target.inputs);
        }
    }
}
