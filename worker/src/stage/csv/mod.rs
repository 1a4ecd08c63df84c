//! `csv`: one part of a file becomes one report of groups.
//!
//! ```text
//! range ─┬→ scan → table → Done
//! whole ─┘    └ a stray quote → Stray (a range), csv-core (a whole file)
//! ```
//! A problem with a file is a report too: the supervisor decides what becomes of the run. Memory grows with the
//! groups of one part, and not with its size.

mod range;
mod scan;
mod table;
#[cfg(test)]
mod tests;
mod whole;

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use shared::black_box::{BlackBox, Phase};
use shared::codec::JOINED_BYTES_MAX;
use shared::csv::{CsvFile, CsvSpec, Done, Found, Part, Report, frame, read_part};
use shared::file_state::FileState;
use shared::protocol::Target;

use super::files::{again, open_regular, unreadable};
use super::{Blocking, Compute, Computed, Context, Interleaved};
use crate::shortage::Shortages;

/// Largest report; with what goes before it in a message, it must stay below [`JOINED_BYTES_MAX`].
const REPORT_BYTES_MAX: usize = JOINED_BYTES_MAX - (1 << 20);

/// What a csv job needs for all of its targets.
#[derive(Debug)]
pub(crate) struct Csv {
    spec: CsvSpec,
    /// The files that the sandbox would hide, opened; as many entries as there are files.
    held: Vec<Option<io::Result<File>>>,
    slot: u32,
    /// Waits while the machine has no descriptor left.
    shortages: Shortages,
}

/// One target's work.
struct Work<'a> {
    spec: &'a CsvSpec,
    black_box: &'a BlackBox,
    /// The file, if it was opened before the sandbox was entered.
    held: Option<&'a io::Result<File>>,
    shortages: &'a Shortages,
}

/// Why a part is not aggregated to its end: what is reported instead.
#[derive(Debug)]
struct Stop(Found);

impl Stop {
    fn failed(what: &str, error: &io::Error) -> Self {
        Self(Found::Failed(format!("{what}: {error}")))
    }
}

impl Csv {
    /// Opens the files that the sandbox would hide.
    pub(crate) fn new(spec: CsvSpec, slot: u32, shortages: Shortages) -> Self {
        let held = spec.files.iter().map(|file| file.held.then(|| File::open(&file.at))).collect();
        Self { spec, held, slot, shortages }
    }

    /// The path of the file a target is a part of.
    fn path(&self, input: &[u8]) -> &[u8] {
        let file = read_part(input).and_then(|part| self.spec.files.get(part.file() as usize));
        file.map_or(&[], |file| file.path.as_os_str().as_bytes())
    }

    /// Aggregates the part that `input` stands for and appends the report to `line`. Returns how many bytes of the file
    /// the part is.
    fn run(&self, input: &[u8], black_box: &BlackBox, line: &mut Vec<u8>) -> u64 {
        let Some(part) = read_part(input) else { return 0 };
        let (found, bytes) = self.find(part, black_box);
        let report = Report { slot: self.slot, part, found };
        let before = line.len();
        frame(&report, line);
        if line.len() - before > REPORT_BYTES_MAX {
            let megabytes = (line.len() - before) >> 20;
            line.truncate(before);
            let found = Found::Failed(format!(
                "the groups of one part of it take {megabytes} MiB, and at most {} can be sent: group by fewer values, \
                 or use fewer of distinct and quantile",
                REPORT_BYTES_MAX >> 20
            ));
            frame(&Report { slot: self.slot, part, found }, line);
        }
        black_box.set_bytes(0);
        bytes
    }

    fn find(&self, part: Part, black_box: &BlackBox) -> (Found, u64) {
        let Some(file) = self.spec.files.get(part.file() as usize) else {
            return (Found::Failed("the job names no such file".to_owned()), 0);
        };
        let held = self.held.get(part.file() as usize).and_then(Option::as_ref);
        let work = Work { spec: &self.spec, black_box, held, shortages: &self.shortages };
        let (found, bytes) = match part {
            Part::Range { start, end, last, .. } => (work.range(file, start, end, last), end - start),
            Part::Whole { .. } => (work.whole(file), file.bytes),
        };
        (found.map_or_else(|Stop(found)| found, |done: Done| Found::Done(Box::new(done))), bytes)
    }
}

impl Compute for Csv {
    type Answer = ();

    /// Appends a report, which the supervisor merges.
    fn compute(&self, context: &Context, target: &Target, (): (), out: &mut Vec<u8>) -> Computed {
        let started_us = context.enter_as(target, Phase::Extract, self.path(&target.input));
        let before = out.len();
        let bytes = self.run(&target.input, &context.black_box, out);
        context.conclude_without_record(target, started_us, bytes, out.len() - before)
    }
}

impl Blocking for Csv {
    fn wait(&mut self, _: &Context, _: &Target) {}
}

impl Interleaved for Csv {
    async fn wait(&self, _: &Context, _: &Target) {}
}

/// Why a file that existed before cannot be opened. The sandbox hides another file that was put in its place.
fn not_opened(file: &CsvFile, error: &io::Error) -> String {
    let now = fs::metadata(&file.at).map(|metadata| file.state.change(&FileState::from(&metadata)));
    match now {
        Ok(Some(change)) => change,
        Ok(None) => unreadable(error),
        Err(_) => format!("{}; it was there when the run began", unreadable(error)),
    }
}

impl Work<'_> {
    /// Opens the file from its beginning, if it is still what it was when its header was read.
    fn open(&self, file: &CsvFile) -> Result<File, Stop> {
        let refused = |error: &io::Error| Stop(Found::Failed(not_opened(file, error)));
        let opened = match self.held {
            None => self.shortages.until_met(|| open_regular(&file.at)),
            Some(held) => {
                let held = held.as_ref().map_err(refused)?;
                self.shortages.until_met(|| again(held))
            }
        };
        let (raw, _) = opened.map_err(|error| refused(&error))?;
        self.unchanged(&raw, file)?;
        Ok(raw)
    }

    /// Checks that the file was not changed meanwhile: old and new rows would be mixed.
    fn unchanged(&self, raw: &File, file: &CsvFile) -> Result<(), Stop> {
        let now = raw.metadata().map_err(|error| Stop(Found::Failed(unreadable(&error))))?;
        file.state.change(&FileState::from(&now)).map_or(Ok(()), |what| Err(Stop(Found::Failed(what))))
    }

    /// Shows in the black box that the part progresses, and how far it is.
    fn show(&self, bytes: u64) {
        self.black_box.set_bytes(bytes);
        self.black_box.advance();
    }
}
