//! What becomes of a line, as a record: its value, or an error.

use serde::Deserialize;
use serde_json::value::RawValue;
use shared::record::{ErrorKind, Evidence, Record, RecordError};

use super::json;
use super::queue::Block;

/// How much of an answer that is none is shown.
const SHOWN_CHARS: usize = 200;

/// Writes records into the blocks they belong to.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) slot: u32,
    /// Whether an answer is the record.
    pub(super) raw: bool,
}

/// Why a line has no value.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) evidence: Option<Evidence>,
    pub(super) attempts: u32,
}

impl Records {
    /// Whether `answer` can be a value. Anything can be a line.
    pub(super) fn takes(&self, answer: &[u8]) -> bool {
        self.raw || json::is_one(answer)
    }

    /// The answer to the first line of `block`, which [`Self::takes`] it.
    pub(super) fn value(&self, block: &mut Block, answer: &[u8]) {
        block.endings.ok += 1;
        if self.raw {
            block.records.extend_from_slice(answer);
        } else if block.outcome.is_some() {
            // The record as it is, with one more key.
            let record = block.first_line();
            let mut whole = Vec::with_capacity(record.len() + answer.len() + 16);
            whole.extend_from_slice(record.strip_suffix(b"}").unwrap_or(record));
            whole.extend_from_slice(b",\"value\":");
            whole.extend_from_slice(answer.trim_ascii());
            whole.push(b'}');
            block.records = whole;
        } else {
            let id = block.first_id();
            block.records.extend_from_slice(b"{\"id\":");
            digits(id, &mut block.records);
            block.records.extend_from_slice(b",\"value\":");
            block.records.extend_from_slice(answer.trim_ascii());
            block.records.push(b'}');
        }
        block.records.push(b'\n');
    }

    /// The first line of `block` has none, for good.
    pub(super) fn error(&self, block: &mut Block, failed: Failed) {
        if failed.kind == ErrorKind::Parse {
            block.endings.parse += 1;
        } else {
            block.endings.child += 1;
        }
        let error =
            RecordError { kind: failed.kind, message: &failed.message, evidence: failed.evidence.clone() };
        if block.outcome.is_some() {
            let mut whole = without_fields(block.first_line());
            whole.extend_from_slice(b",\"error\":");
            // Encoding plain data into memory does not fail.
            let _ = serde_json::to_writer(&mut whole, &error);
            whole.extend_from_slice(b"}\n");
            block.records = whole;
            return;
        }
        let record = Record {
            id: block.first_id(),
            url: None,
            path: None,
            keep: None,
            final_url: None,
            status: None,
            attempts: failed.attempts,
            worker: self.slot,
            elapsed_ms: None,
            bytes: None,
            charset: None,
            fields: None,
            error: Some(error),
        };
        let _ = record.write_line(&mut block.records);
    }
}

/// A record of ours up to its fields, which are its last key, and not closed.
fn without_fields(record: &[u8]) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        fields: &'a RawValue,
    }
    let fields = serde_json::from_slice::<Fields<'_>>(record).map_or(0, |found| found.fields.get().len());
    let tail = if fields == 0 { 1 } else { ",\"fields\":".len() + fields + 1 };
    record.get(..record.len().saturating_sub(tail)).unwrap_or_default().to_vec()
}

/// The beginning of what a program wrote, for a person.
pub(super) fn beginning(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..SHOWN_CHARS * 4).unwrap_or(text)).into_owned();
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Appends a number. A million times a second, the formatting machinery would be seen.
fn digits(mut number: u64, out: &mut Vec<u8>) {
    let from = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(written) = out.get_mut(from..) {
        written.reverse();
    }
}

#[cfg(test)]
mod tests {
    use shared::protocol::{Outcome, Target, Verdict};

    use super::*;

    const RECORDS: Records = Records { slot: 3, raw: false };

    fn failed() -> Failed {
        Failed { kind: ErrorKind::Child, message: "it died".to_owned(), evidence: None, attempts: 2 }
    }

    fn lines() -> Block {
        Block::of_lines(Target {
            id: 1234567,
            attempt: 1,
            may_retry: false,
            may_defer: false,
            not_before_us: None,
            input: b"{}".to_vec(),
            kept: Vec::new(),
        })
    }

    #[test]
    fn a_line_has_a_value_or_an_error() {
        let mut block = lines();
        RECORDS.value(&mut block, b" [1] \r");
        assert_eq!(block.records, b"{\"id\":1234567,\"value\":[1]}\n");
        let mut block = lines();
        RECORDS.error(&mut block, failed());
        let text = String::from_utf8(block.records).unwrap();
        assert_eq!(
            text,
            "{\"id\":1234567,\"attempts\":2,\"worker\":3,\"error\":{\"kind\":\"child\",\"message\":\"it died\"}}\n"
        );
        let mut block = lines();
        Records { slot: 0, raw: true }.value(&mut block, b" any \xff thing");
        assert_eq!(block.records, b" any \xff thing\n");
    }

    #[test]
    fn a_record_keeps_what_it_has() {
        let outcome = Outcome {
            id: 7,
            verdict: Verdict::Ok,
            bytes: 0,
            started_us: 0,
            elapsed_us: 0,
            cpu_us: 0,
            endings: None,
            reply: None,
            line_bytes: 0,
        };
        let line = br#"{"id":7,"url":"http://x/?,\"fields\":1","fields":{"a":"}"}}"#;
        let block = || Block::of_record(outcome.clone(), [&line[..], b"\n"].concat());
        let mut one = block();
        RECORDS.value(&mut one, b"1");
        assert_eq!(
            String::from_utf8(one.records).unwrap(),
            "{\"id\":7,\"url\":\"http://x/?,\\\"fields\\\":1\",\"fields\":{\"a\":\"}\"},\"value\":1}\n"
        );
        let mut two = block();
        RECORDS.error(&mut two, failed());
        assert_eq!(
            String::from_utf8(two.records).unwrap(),
            "{\"id\":7,\"url\":\"http://x/?,\\\"fields\\\":1\",\"error\":{\"kind\":\"child\",\"message\":\"it died\"}}\n"
        );
    }

    #[test]
    fn a_record_is_cut_before_its_own_fields() {
        for (record, cut) in [
            (
                r#"{"id":1,"keep":{"a":1,"fields":2},"fields":{"x":{"a":1,"fields":3}}}"#,
                r#"{"id":1,"keep":{"a":1,"fields":2}"#,
            ),
            (r#"{"id":1,"fields":{}}"#, r#"{"id":1"#),
            (r#"{"id":1}"#, r#"{"id":1"#),
        ] {
            assert_eq!(String::from_utf8(without_fields(record.as_bytes())).unwrap(), cut);
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 7, 10, 1_000_000, u64::MAX] {
            let mut out = b"x".to_vec();
            digits(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }
}
