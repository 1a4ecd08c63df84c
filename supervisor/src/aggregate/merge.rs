//! Merges the reports of parts, in the order of the parts.

use std::collections::BTreeMap;

use shared::csv::{
    BAD_SHOWN_MAX, BadRow, CsvFile, CsvSpec, Done, Found, Groups, GroupsFull, Part, Report, Stray, unframe,
};

use crate::source::shown_part;
use crate::units;

/// Why parts cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// There are more groups than allowed.
    #[error(
        "there are more than {} groups, and each takes memory: group by fewer or coarser columns, leave rows out with --where, \
         or allow more with --groups-max",
        units::count(*max)
    )]
    GroupsFull {
        /// Most groups allowed.
        max: u64,
    },
    /// A part cannot be aggregated.
    #[error("{part}: {why}")]
    Failed {
        /// The part, with its file.
        part: String,
        /// Why.
        why: String,
    },
    /// A report is malformed.
    #[error("a worker's report cannot be read; this is a bug in the worker")]
    Malformed,
}

/// Merges the reports of the parts of all files.
#[derive(Debug)]
pub struct Merge {
    spec: CsvSpec,
    /// The result of all files that are done.
    total: Merged,
    /// The file whose parts are coming, and their result.
    current: Option<(u32, Merged)>,
    /// Files that were cut at wrong places. They are read again, each as a whole.
    again: Vec<u32>,
    /// Files that were read as a whole although they could have been cut, and why.
    one_pass: Vec<OnePass>,
}

/// A file that was read as a whole although it could have been cut, and why: the stray quote found in it, or
/// that no place to cut it was found.
pub(crate) type OnePass = (u32, Option<Stray>);

/// The merged result of some parts.
#[derive(Debug, Default)]
pub struct Merged {
    /// The groups.
    pub groups: Groups,
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be used.
    pub bad: u64,
    /// The first of those, and of which files.
    pub bad_first: Vec<(u32, BadRow)>,
    /// Rows read in each slot.
    pub by_slot: BTreeMap<u32, u64>,
}

impl Merge {
    /// Creates a merge of nothing yet.
    #[must_use]
    pub fn new(spec: &CsvSpec) -> Self {
        Self {
            total: Merged::new(spec),
            spec: spec.clone(),
            current: None,
            again: Vec::new(),
            one_pass: Vec::new(),
        }
    }

    /// Merges framed reports, which come in the order of their parts. Returns the files whose cuts these
    /// reports show to be wrong: no more parts of them are needed.
    ///
    /// # Errors
    /// [`AggregateError`]; the run is then over.
    pub fn take(&mut self, mut lines: &[u8]) -> Result<Vec<u32>, AggregateError> {
        let known = self.again.len();
        while !lines.is_empty() {
            let (report, rest) = unframe(lines).ok_or(AggregateError::Malformed)?;
            self.take_report(report)?;
            lines = rest;
        }
        Ok(self.again.get(known..).unwrap_or_default().to_vec())
    }

    fn take_report(&mut self, report: Report) -> Result<(), AggregateError> {
        let Report { slot, part, found } = report;
        let index = part.file();
        let is_whole = matches!(part, Part::Whole { .. });
        if !is_whole && self.again.contains(&index) {
            return Ok(());
        }
        if self.current.as_ref().is_none_or(|(current, _)| *current != index) {
            self.file_ended()?;
            self.current = Some((index, Merged::new(&self.spec)));
        }
        match found {
            Found::Done(done) => {
                if is_whole && self.file(index).is_some_and(CsvFile::can_be_split) {
                    self.one_pass.push((index, done.stray));
                }
                let max = self.spec.groups_max;
                if let Some((_, merged)) = &mut self.current {
                    merged
                        .add(index, slot, *done, max)
                        .map_err(|GroupsFull| AggregateError::GroupsFull { max })?;
                }
                Ok(())
            }
            Found::Stray(_) => {
                // The parts before were cut by the same rules.
                self.current = None;
                self.again.push(index);
                Ok(())
            }
            Found::GroupsFull => Err(AggregateError::GroupsFull { max: self.spec.groups_max }),
            Found::Failed(why) => {
                let part = self.file(index).map(|file| shown_part(&file.path, part)).unwrap_or_default();
                Err(AggregateError::Failed { part, why })
            }
        }
    }

    fn file(&self, index: u32) -> Option<&CsvFile> {
        self.spec.files.get(index as usize)
    }

    fn file_ended(&mut self) -> Result<(), AggregateError> {
        let Some((_, merged)) = self.current.take() else { return Ok(()) };
        let max = self.spec.groups_max;
        self.total.merge(merged, max).map_err(|GroupsFull| AggregateError::GroupsFull { max })
    }

    /// Ends a pass: all parts that were handed out are merged. Returns the files to read again, each as a whole.
    ///
    /// # Errors
    /// [`AggregateError::GroupsFull`] if the last file's groups are too many.
    pub fn end_pass(&mut self) -> Result<Vec<u32>, AggregateError> {
        self.file_ended()?;
        Ok(std::mem::take(&mut self.again))
    }

    /// Returns the result of everything, and the files that had to be read in one pass.
    #[must_use]
    pub fn finish(self) -> (Merged, Vec<OnePass>) {
        let Self { spec, mut total, one_pass, .. } = self;
        total.bad_first.sort_by_key(|(file, _)| *file);
        if spec.keys.is_empty() {
            total.groups.ensure_one();
        }
        (total, one_pass)
    }
}

impl Merged {
    fn new(spec: &CsvSpec) -> Self {
        Self { groups: Groups::new(spec), ..Self::default() }
    }

    fn add(&mut self, file: u32, slot: u32, done: Done, groups_max: u64) -> Result<(), GroupsFull> {
        self.merge(
            Self {
                groups: done.groups,
                rows: done.rows,
                bad: done.bad,
                bad_first: done.bad_first.into_iter().map(|row| (file, row)).collect(),
                by_slot: BTreeMap::from([(slot, done.rows)]),
            },
            groups_max,
        )
    }

    fn merge(&mut self, next: Self, groups_max: u64) -> Result<(), GroupsFull> {
        self.groups.merge(next.groups, groups_max)?;
        self.rows += next.rows;
        self.bad += next.bad;
        let room = BAD_SHOWN_MAX.saturating_sub(self.bad_first.len());
        self.bad_first.extend(next.bad_first.into_iter().take(room));
        for (slot, rows) in next.by_slot {
            *self.by_slot.entry(slot).or_default() += rows;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shared::csv::{Place, StrayKind, frame};

    use super::*;

    fn range(file: u32, start: u64) -> Part {
        Part::Range { file, start, end: start + 10, last: false }
    }

    fn framed(reports: &[(Part, Found)]) -> Vec<u8> {
        let mut lines = Vec::new();
        for (part, found) in reports {
            frame(&Report { slot: 0, part: *part, found: found.clone() }, &mut lines);
        }
        lines
    }

    fn done(rows: u64) -> Found {
        Found::Done(Box::new(Done { rows, ..Done::default() }))
    }

    #[test]
    fn a_file_that_was_cut_wrongly_is_named_once_and_merged_from_another_pass() {
        let stray = Found::Stray(Stray { place: Place::Offset(15), kind: StrayKind::Inside });
        let spec = CsvSpec {
            files: vec![CsvFile::default(), CsvFile::default()],
            columns: Vec::new(),
            keys: Vec::new(),
            aggregates: Vec::new(),
            filters: Vec::new(),
            groups_max: 9,
            encoding: None,
        };
        let mut merge = Merge::new(&spec);
        let first = framed(&[(range(0, 0), done(5)), (range(0, 10), stray.clone()), (range(0, 20), done(7))]);
        assert_eq!(merge.take(&first).unwrap(), [0]);
        let second = framed(&[(range(0, 30), stray), (range(1, 0), done(3))]);
        assert!(merge.take(&second).unwrap().is_empty());
        assert_eq!(merge.end_pass().unwrap(), [0]);
        assert!(merge.take(&framed(&[(Part::Whole { file: 0 }, done(20))])).unwrap().is_empty());
        assert!(merge.end_pass().unwrap().is_empty());
        let (merged, _) = merge.finish();
        assert_eq!(merged.rows, 23);
    }
}
