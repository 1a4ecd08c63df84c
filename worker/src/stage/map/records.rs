//! The record of a line: a value, or an error.

use shared::encoder::Encoder;
use shared::record::{Ending, ErrorKind, Evidence, Record, RecordError};

use super::json;
use super::queue::Block;

/// How much of an unusable answer is shown.
const SHOWN_CHARS: usize = 200;

/// Writes records into the blocks they belong to.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) slot: u32,
    /// Whether an answer is the record.
    pub(super) raw: bool,
    pub(super) encoder: Encoder,
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
    /// Whether `answer` can be used: as a value it must be JSON, as a line it may be anything.
    pub(super) fn takes(&self, answer: &[u8]) -> bool {
        self.raw || json::is_one(answer)
    }

    /// Gives the first line of `block` its record, with an answer that [`Self::takes`] accepts.
    pub(super) fn value(&self, block: &mut Block, answer: &[u8]) {
        block.endings.ok += 1;
        if self.raw {
            block.records.extend_from_slice(answer);
            return block.records.push(b'\n');
        }
        let value = answer.trim_ascii();
        if block.record.is_some() {
            self.end(block, &Ending::Value(value));
        } else {
            let id = block.first_id();
            self.encoder.write_answer(id, value, &mut block.records);
        }
    }

    /// Gives the first line of `block` a record with an error.
    pub(super) fn error(&self, block: &mut Block, failed: &Failed) {
        if failed.kind == ErrorKind::Parse {
            block.endings.parse += 1;
        } else {
            block.endings.child += 1;
        }
        let error =
            RecordError { kind: failed.kind, message: &failed.message, evidence: failed.evidence.as_ref() };
        if block.record.is_some() {
            return self.end(block, &Ending::Error(error));
        }
        let record = Record {
            id: block.first_id(),
            attempts: Some(failed.attempts),
            worker: Some(self.slot),
            error: Some(error),
            ..Record::default()
        };
        self.encoder.write(&record, None, &mut block.records);
    }

    /// Ends the record that `block` is.
    fn end(&self, block: &mut Block, ending: &Ending<'_>) {
        let Some((_, begun)) = &block.record else { return };
        let mut record = Vec::new();
        self.encoder.end(begun, block.first_line(), ending, &mut record);
        block.records = record;
    }
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

#[cfg(test)]
mod tests {
    use shared::job::RecordEncoding;
    use shared::protocol::{Outcome, Target, Verdict};
    use shared::record::{FieldValue, Fields};

    use super::*;

    fn records(raw: bool) -> Records {
        Records { slot: 3, raw, encoder: Encoder::new(&RecordEncoding::JsonLine) }
    }

    fn failed() -> Failed {
        Failed { kind: ErrorKind::Child, message: "it died".to_owned(), evidence: None, attempts: 2 }
    }

    fn lines() -> Block {
        Block::of_lines(Target { id: 1234567, attempt: 1, input: b"{}".to_vec(), ..Target::default() })
    }

    #[test]
    fn a_line_has_a_value_or_an_error() {
        let mut block = lines();
        records(false).value(&mut block, b" [1] \r");
        assert_eq!(block.records, b"{\"id\":1234567,\"value\":[1]}\n");
        let mut block = lines();
        records(false).error(&mut block, &failed());
        let text = String::from_utf8(block.records).unwrap();
        assert_eq!(
            text,
            "{\"id\":1234567,\"attempts\":2,\"worker\":3,\"error\":{\"kind\":\"child\",\"message\":\"it died\"}}\n"
        );
        let mut block = lines();
        records(true).value(&mut block, b" any \xff thing");
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
            retry_after_ms: None,
            exit_use: None,
            over_budget: false,
            session: None,
            line_bytes: 0,
            found_bytes: 0,
            note_bytes: 0,
        };
        let (names, values) = (["a".to_owned()], [FieldValue::Text("}".to_owned())]);
        let fields = Some(Fields { names: &names, values: &values });
        let record = Record { id: 7, url: Some("http://x/"), fields, ..Record::default() };
        for (is_ok, want) in [
            (true, ",\"fields\":{\"a\":\"}\"},\"value\":1}\n"),
            (false, ",\"error\":{\"kind\":\"child\",\"message\":\"it died\"}}\n"),
        ] {
            let (records, mut line) = (records(false), Vec::new());
            let begun = records.encoder.begin(&record, &mut line);
            let mut block = Block::of_record(outcome.clone(), line, begun);
            if is_ok {
                records.value(&mut block, b" 1 ");
            } else {
                records.error(&mut block, &failed());
            }
            let record = String::from_utf8(block.records).unwrap();
            assert_eq!(record, format!("{{\"id\":7,\"url\":\"http://x/\"{want}"));
        }
    }
}
