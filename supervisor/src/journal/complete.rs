//! Whether an output without a journal is what this job would have written.
//!
//! A complete run takes its journal away, so there is nothing left to compare
//! the job with; but a file that holds something else, or a list that has grown
//! since, must not be called complete.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::archive;
use crate::plan::{Archive, Input, Plan};
use crate::source::{Source, TargetKind};

/// Targets counted at once.
const BATCH: usize = 4096;

/// What of a record tells that it is one.
#[derive(Deserialize)]
struct Seen {
    #[serde(rename = "id")]
    _id: u64,
    error: Option<IgnoredAny>,
}

/// A complete output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complete {
    /// Its records.
    pub records: u64,
    /// Those of them that are errors.
    pub failed: u64,
}

/// Reads `output` through and counts the inputs of `plan`.
///
/// # Errors
/// When either cannot be read, when a line is no record, or when there are more or fewer records than inputs.
pub fn check(output: &Path, plan: &Plan) -> anyhow::Result<Complete> {
    let complete = match plan.archive {
        None => read(output)?,
        Some(archive) => read_archive(output, archive)?,
    };
    // Standard input can be read only once, and belongs to whoever comes next; a sitemap may have changed.
    let once = |input: &Input| matches!(input, Input::StdinLines | Input::Sitemaps(_));
    if !plan.inputs.iter().any(once) {
        let inputs = count_inputs(plan)?;
        if inputs != complete.records {
            bail!(
                "{} has {} records and no journal, and there are {inputs} inputs: it is not what this job would \
                 have written; --overwrite starts anew",
                output.display(),
                complete.records
            );
        }
    }
    Ok(complete)
}

fn read(output: &Path) -> anyhow::Result<Complete> {
    let shown = output.display();
    let file = File::open(output).with_context(|| format!("cannot read {shown}"))?;
    let mut lines = BufReader::with_capacity(1 << 20, file);
    let (mut line, mut complete) = (Vec::new(), Complete { records: 0, failed: 0 });
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).with_context(|| format!("cannot read {shown}"))? == 0 {
            return Ok(complete);
        }
        let number = complete.records + 1;
        let Ok(seen) = serde_json::from_slice::<Seen>(&line) else {
            bail!(
                "{shown}:{number}: this is no record of ours, and there is no journal; --overwrite starts anew"
            );
        };
        complete.records += 1;
        complete.failed += u64::from(seen.error.is_some());
    }
}

fn read_archive(output: &Path, archive: Archive) -> anyhow::Result<Complete> {
    let shown = output.display();
    let counted = archive::count(output, archive);
    let (records, failed) = counted.map_err(|error| {
        error.context(format!(
            "{shown} is no whole archive of ours, and there is no journal; --overwrite starts anew"
        ))
    })?;
    Ok(Complete { records, failed })
}

fn count_inputs(plan: &Plan) -> anyhow::Result<u64> {
    let mut source = Source::new(&plan.inputs, TargetKind::of(&plan.work));
    let mut items = Vec::with_capacity(BATCH);
    let mut count = 0;
    loop {
        items.clear();
        let more = source.next_batch(&mut items, BATCH)?;
        count += items.len() as u64;
        if !more {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let got = read(&path).ok().map(|complete| (complete.records, complete.failed));
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
