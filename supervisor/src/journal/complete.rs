//! Checks whether an output without a journal is what this job would have written.
//!
//! A complete run removes its journal, so there is nothing left to compare the job
//! with. But a file with other contents, or with fewer records than there are
//! inputs now, must not be called complete.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use csv_core::{ReadFieldResult, ReaderBuilder};
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use shared::protocol::{Outcome, Verdict};
use shared::record::ErrorKind;
use supervisor_core::gather::Gather;

use crate::archive;
use crate::columns;
use crate::format::{Format, Packing};
use crate::kinds::{self, Spooled};
use crate::plan::{Input, Plan};
use crate::sink::whole::{self, Manifest};

/// Most workers of a run.
const SLOTS_MAX: u32 = 1024;

/// Inputs counted at once.
const BATCH: usize = 4096;

/// The members of a record that show that it is one, and those that are counted.
#[derive(Default, Deserialize)]
struct Seen {
    id: u64,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    worker: u32,
    #[serde(default)]
    elapsed_ms: f64,
    #[serde(default)]
    bytes: u64,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    kind: ErrorKind,
}

impl Seen {
    /// Counts it as if it came from its worker.
    fn count(&self, told: &mut Gather) {
        told.retried(u64::from(self.attempts.saturating_sub(1)));
        // A file may contain anything; no run has more slots.
        let slot = self.worker.min(SLOTS_MAX - 1);
        let kind = self.error.as_ref().map(|failure| failure.kind);
        if let Some(kind @ (ErrorKind::WorkerCrash | ErrorKind::WorkerHang | ErrorKind::WorkerOom)) = kind {
            return told.quarantined(slot, kind, 0);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "hours at most; less is nothing"
        )]
        let elapsed_us = (self.elapsed_ms * 1e3) as u64;
        told.record(
            slot,
            &Outcome {
                id: self.id,
                verdict: kind.map_or(Verdict::Ok, Verdict::Failed),
                bytes: self.bytes,
                started_us: 0,
                elapsed_us,
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
            },
        );
    }
}

/// A complete output.
#[derive(Debug)]
pub struct Complete {
    /// Number of its records.
    pub records: u64,
    /// Number of records with an error.
    pub failed: u64,
    /// Their counts; empty unless they are JSON lines.
    pub told: Gather,
}

/// Reads `output` through and counts the inputs of `plan`.
///
/// # Errors
/// If either cannot be read, if a line is not a record, or if there are more or fewer records than inputs.
pub fn check(output: &Path, plan: &Plan) -> anyhow::Result<Complete> {
    let complete = read(output, plan)?;
    check_count(&output.display().to_string(), &complete, plan)?;
    Ok(complete)
}

/// Counts the inputs of `plan` and compares them with the records of a complete output.
///
/// # Errors
/// If they cannot be read, or there are more or fewer of them than records.
pub fn check_count(shown: &str, complete: &Complete, plan: &Plan) -> anyhow::Result<()> {
    // Standard input can be read only once; a sitemap may have changed.
    let once = |input: &Input| matches!(input, Input::StdinLines | Input::Sitemaps(_));
    // Nor do the inputs of a crawl say how many pages it finds.
    if !plan.inputs.iter().any(once) && !kinds::of(&plan.work).rules().crawls {
        let inputs = count_inputs(plan)?;
        // Of a list of pages, each page after the first one is a record too.
        let may_be_more = kinds::next(&plan.work).is_some();
        if inputs > complete.records || (inputs < complete.records && !may_be_more) {
            bail!(
                "{shown} has {} records and no journal, and there are {inputs} inputs: it is not what this job would \
                 have written; --overwrite starts anew",
                complete.records
            );
        }
    }
    Ok(())
}

/// Reads an output through, whatever its format.
fn read(output: &Path, plan: &Plan) -> anyhow::Result<Complete> {
    let shown = output.display();
    let raw = kinds::program(plan).is_some_and(|spec| spec.raw);
    let counted = match plan.format {
        _ if plan.split.is_some() => read_directory(output),
        Format::JsonLines(packing) => return read_lines(output, packing, raw),
        Format::Csv(packing) | Format::Tsv(packing) => read_rows(output, packing, plan),
        Format::Warc { gzip } => archive::count(output, gzip),
        Format::Sqlite => whole::count_sqlite(output).map_err(Into::into),
        #[cfg(feature = "parquet")]
        Format::Parquet => whole::count_parquet(output).map_err(Into::into),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => Err(anyhow::anyhow!("this build has no Parquet")),
    };
    let (records, failed) = counted.map_err(|error| {
        let what = match (plan.split, plan.format) {
            (None, Format::Warc { .. }) => "archive",
            (None, _) => "file",
            (Some(_), _) => "directory",
        };
        error.context(format!(
            "{shown} is no whole {what} of ours, and there is no journal; --overwrite starts anew"
        ))
    })?;
    Ok(Complete { records, failed, told: Gather::new(0) })
}

fn unpacked(output: &Path, packing: Option<Packing>) -> anyhow::Result<BufReader<Box<dyn Read>>> {
    let file = File::open(output).with_context(|| format!("cannot read {}", output.display()))?;
    let bytes: Box<dyn Read> = match packing {
        None => Box::new(file),
        Some(Packing::Gzip) => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file))),
        Some(Packing::Zstd) => Box::new(zstd::stream::read::Decoder::new(file)?),
    };
    Ok(BufReader::with_capacity(1 << 20, bytes))
}

/// Counts lines; with `raw`, any line is a record.
fn read_lines(output: &Path, packing: Option<Packing>, raw: bool) -> anyhow::Result<Complete> {
    let shown = output.display();
    let mut lines = unpacked(output, packing)?;
    let (mut line, mut complete) = (Vec::new(), Complete { records: 0, failed: 0, told: Gather::new(0) });
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).with_context(|| format!("cannot read {shown}"))? == 0 {
            return Ok(complete);
        }
        let number = complete.records + 1;
        let seen = match serde_json::from_slice::<Seen>(&line) {
            Ok(seen) => seen,
            Err(_) if raw => Seen::default(),
            Err(_) => bail!(
                "{shown}:{number}: this is no record of ours, and there is no journal; --overwrite starts anew"
            ),
        };
        complete.records += 1;
        complete.failed += u64::from(seen.error.is_some());
        seen.count(&mut complete.told);
    }
}

/// Counts rows under the header that this job writes, and those with an error.
fn read_rows(output: &Path, packing: Option<Packing>, plan: &Plan) -> anyhow::Result<(u64, u64)> {
    let Some(rows) = columns::delimited(plan) else { bail!("it has no columns") };
    let (mut header, mut wanted) = (Vec::new(), Vec::new());
    rows.header(&mut wanted);
    let mut text = unpacked(output, packing)?;
    (&mut text).take(wanted.len() as u64).read_to_end(&mut header)?;
    if header != wanted {
        bail!("its columns are others");
    }
    let error_kind = rows.table.columns.iter().position(|column| column.name == "error_kind");
    let (mut records, mut failed, mut cell, mut is_empty) = (0, 0, 0, true);
    let mut reader = ReaderBuilder::new().delimiter(rows.delimiter).build();
    let mut field = [0; 4096];
    loop {
        let input = text.fill_buf()?;
        let (result, read, written) = reader.read_field(input, &mut field);
        text.consume(read);
        is_empty &= written == 0;
        match result {
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
            ReadFieldResult::Field { record_end } => {
                failed += u64::from(Some(cell) == error_kind && !is_empty);
                cell += 1;
                is_empty = true;
                if record_end {
                    if cell != rows.table.columns.len() {
                        bail!("row {} has {cell} cells", records + 1);
                    }
                    records += 1;
                    cell = 0;
                }
            }
            ReadFieldResult::End => return Ok((records, failed)),
        }
    }
}

/// Reads the manifest of a directory, which is written last.
fn read_directory(output: &Path) -> anyhow::Result<(u64, u64)> {
    let path = output.join(whole::MANIFEST);
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Manifest = serde_json::from_slice(&text)?;
    for file in &manifest.files {
        let bytes = std::fs::metadata(output.join(&file.name)).map(|metadata| metadata.len()).ok();
        if bytes != Some(file.bytes) {
            bail!("{} is not what its manifest says", file.name);
        }
    }
    Ok((manifest.records, manifest.failed))
}

fn count_inputs(plan: &Plan) -> anyhow::Result<u64> {
    let mut source = kinds::of(&plan.work).targets(plan, Spooled::default());
    let mut items = Vec::with_capacity(BATCH);
    let mut count = 0;
    loop {
        items.clear();
        let more = source.next_batch(&mut items, BATCH)?;
        count += items.iter().map(|item| item.inputs).sum::<u64>();
        if !more {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_read_off_the_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let lines = [
            r#"{"id":0,"attempts":1,"worker":1,"elapsed_ms":2.5,"bytes":10,"fields":{}}"#,
            r#"{"id":1,"attempts":3,"worker":0,"error":{"kind":"dns","message":"x"}}"#,
            r#"{"id":2,"attempts":3,"worker":0,"error":{"kind":"worker_crash","message":"x","signal":"SIGSEGV"}}"#,
        ];
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        let Complete { records, failed, told } = read_lines(&path, None, false).unwrap();
        assert_eq!((records, failed), (3, 2));
        let counts = supervisor_core::gather::Counts {
            ok: 1,
            failed: 2,
            quarantined: 1,
            retries: 4,
            bytes: 10,
            unchanged: 0,
        };
        assert_eq!(told.counts(), counts);
        assert_eq!(told.errors(), &[(ErrorKind::Dns, 1), (ErrorKind::WorkerCrash, 1)].into());
        assert_eq!(told.slots().iter().map(|slot| slot.items).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(told.latency().max_us(), 2_500);
    }

    #[test]
    fn only_a_file_of_records_is_read_as_one() {
        let dir = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("", Some((0, 0))),
            ("{\"id\":0,\"fields\":{}}\n{\"id\":1,\"error\":{\"kind\":\"dns\"}}\n", Some((2, 1))),
            ("data\n", None),
            ("{\"id\":0}\n{\"id\":", None),
            ("{\"name\":\"x\"}\n", None),
        ] {
            let path = dir.path().join("out.jsonl");
            std::fs::write(&path, text).unwrap();
            let got = read_lines(&path, None, false).ok().map(|complete| (complete.records, complete.failed));
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
