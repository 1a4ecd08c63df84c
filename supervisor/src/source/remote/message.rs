//! What passes between the supervisor and a reader: one request, and answers until the reader ends.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared::csv::CsvFile;
use shared::framed;

use super::super::{Candidate, LINE_BYTES_MAX, TargetKind};
use crate::plan::Columns;

/// Longest message of a reader: a target of the largest size, and the batch that it completes.
const MESSAGE_BYTES_MAX: u64 = 2 * LINE_BYTES_MAX as u64;

/// What a list is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::source) enum ListFormat {
    /// One target per line.
    Lines,
    /// CSV with a header.
    Csv(Columns),
    /// JSON lines.
    Json(Columns),
    /// Parquet.
    Parquet(Columns),
}

/// What a reader is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::source) enum Request {
    /// Give the targets of a list.
    List {
        #[serde(with = "shared::path")]
        path: PathBuf,
        format: ListFormat,
        kind: TargetKind,
        /// The encoding's name.
        encoding: Option<String>,
        delimiter: Option<u8>,
    },
    /// Read the first row of a CSV file.
    Header {
        #[serde(with = "shared::path")]
        path: PathBuf,
        delimiter: u8,
        header: bool,
        encoding: Option<String>,
        decodes: bool,
    },
}

/// What a reader answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::source) enum Reply {
    /// The list has the columns.
    Opened,
    /// The next targets, and how many bytes of the file have been read for them.
    Targets(Vec<Candidate>, u64),
    /// There are no more.
    End,
    /// The list cannot be read, or not any further.
    Failed(String),
    /// What the first row shows.
    Header(HeaderReply),
}

/// What the first row of a CSV file shows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::source) struct HeaderReply {
    pub(in crate::source) file: CsvFile,
    pub(in crate::source) names: Vec<String>,
    /// The encoding's name.
    pub(in crate::source) encoding: String,
}

/// Splits what comes through the pipe into messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// Bytes of the messages that were returned.
    used: usize,
}

/// A message that no reader of this build sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Messages {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.used));
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self) -> Result<Option<Reply>, Malformed> {
        let rest = self.bytes.get(self.used..).unwrap_or_default();
        let Some(length) = framed::length(rest) else { return Ok(None) };
        if length > MESSAGE_BYTES_MAX {
            return Err(Malformed);
        }
        if (rest.len() as u64) < length {
            return Ok(None);
        }
        let (reply, after) = framed::first(rest).ok_or(Malformed)?;
        self.used = self.bytes.len() - after.len();
        Ok(Some(reply))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &str) -> Candidate {
        Candidate { inputs: text.split('\n').count() as u64, ..Candidate::good(text.into()) }
    }

    #[test]
    fn messages_are_whole_whatever_the_pipe_makes_of_them() {
        let replies = || vec![Reply::Opened, Reply::Targets(vec![lines("a\nb")], 7), Reply::End];
        let mut bytes = Vec::new();
        replies().iter().for_each(|reply| framed::push(reply, &mut bytes));
        for at_once in [1, 2, 9, 1000] {
            let (mut messages, mut heard) = (Messages::default(), Vec::new());
            for part in bytes.chunks(at_once) {
                messages.push(part);
                while let Some(reply) = messages.next().unwrap() {
                    heard.push(reply);
                }
            }
            assert_eq!(heard, replies(), "by {at_once}");
        }
        let mut messages = Messages::default();
        messages.push(&(MESSAGE_BYTES_MAX + 1).to_le_bytes());
        assert_eq!(messages.next(), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_messages_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let mut framed = (bytes.len() as u64).to_le_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            for bytes in [&bytes, &framed] {
                let mut messages = Messages::default();
                for part in bytes.chunks(cut.max(1)) {
                    messages.push(part);
                    while let Ok(Some(_)) = messages.next() {}
                }
            }
        }
    }
}
