//! Takes reports in the order of the parts, and merges them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shared::csv::{
    BAD_SHOWN_MAX, BadRow, CsvFile, CsvSpec, Done, Found, Groups, GroupsFull, Part, Report, Stray, unframe,
};

use crate::source::Abandoned;
use crate::units;

/// Why parts cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// More groups than may be.
    #[error(
        "there are more than {} groups, and each takes memory: group by fewer or coarser columns, leave rows out with --where, \
         or allow more with --groups-max",
        units::count(*max)
    )]
    GroupsFull {
        /// How many may be.
        max: u64,
    },
    /// A part cannot be aggregated.
    #[error("{}: {why}", shown(file, *part))]
    Failed {
        /// The file.
        file: String,
        /// Which part of it.
        part: Part,
        /// Why.
        why: String,
    },
    /// A report is none.
    #[error("a worker's report cannot be read; this is a bug in the worker")]
    Malformed,
}

/// A part, for a person.
#[must_use]
pub(crate) fn shown(file: &str, part: Part) -> String {
    match part {
        Part::Range { start, end, .. } => format!("{file}, bytes {start} to {end}"),
        Part::Whole { .. } => file.to_owned(),
    }
}

/// Merges what comes of the parts of all files.
#[derive(Debug)]
pub struct Merge {
    spec: Arc<CsvSpec>,
    abandoned: Abandoned,
    /// What all files that are done come to.
    total: Tally,
    /// The file whose parts are coming.
    current: Option<(u32, Tally)>,
    /// Files to be done again, each as a whole.
    again: Vec<u32>,
    /// Files that were done as a whole and not by choice, and what was found in them.
    one_pass: Vec<(u32, Option<Stray>)>,
}

/// What parts come to.
#[derive(Debug, Default)]
pub struct Tally {
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
    /// Nothing merged yet.
    #[must_use]
    pub fn new(spec: Arc<CsvSpec>) -> Self {
        let abandoned = spec.files.iter().map(|_| AtomicBool::new(false)).collect();
        Self {
            total: Tally::new(&spec),
            spec,
            abandoned,
            current: None,
            again: Vec::new(),
            one_pass: Vec::new(),
        }
    }

    /// Which files nothing more is to be handed out of; shared with the source.
    #[must_use]
    pub fn abandoned(&self) -> Abandoned {
        Arc::clone(&self.abandoned)
    }

    /// Takes framed reports in, in the order of their parts.
    ///
    /// # Errors
    /// [`AggregateError`]; the run is then over.
    pub fn take(&mut self, mut lines: &[u8]) -> Result<(), AggregateError> {
        while !lines.is_empty() {
            let (report, rest) = unframe(lines).ok_or(AggregateError::Malformed)?;
            self.take_report(report)?;
            lines = rest;
        }
        Ok(())
    }

    fn take_report(&mut self, report: Report) -> Result<(), AggregateError> {
        let Report { slot, part, found } = report;
        let index = part.file();
        let is_whole = matches!(part, Part::Whole { .. });
        if !is_whole && self.is_abandoned(index) {
            return Ok(());
        }
        if self.current.as_ref().is_none_or(|(current, _)| *current != index) {
            self.file_ended()?;
            self.current = Some((index, Tally::new(&self.spec)));
        }
        match found {
            Found::Done(done) => {
                if is_whole && self.file(index).is_some_and(CsvFile::can_be_split) {
                    self.one_pass.push((index, done.stray));
                }
                let max = self.spec.groups_max;
                if let Some((_, tally)) = &mut self.current {
                    tally
                        .add(index, slot, *done, max)
                        .map_err(|GroupsFull| AggregateError::GroupsFull { max })?;
                }
                Ok(())
            }
            Found::Stray(_) => {
                // Whatever was found before in this file was cut by the same rules.
                self.current = None;
                if let Some(abandoned) = self.abandoned.get(index as usize) {
                    abandoned.store(true, Ordering::Relaxed);
                }
                self.again.push(index);
                Ok(())
            }
            Found::GroupsFull => Err(AggregateError::GroupsFull { max: self.spec.groups_max }),
            Found::Failed(why) => {
                let file = self.file(index).map(|file| file.path.display().to_string()).unwrap_or_default();
                Err(AggregateError::Failed { file, part, why })
            }
        }
    }

    fn file(&self, index: u32) -> Option<&CsvFile> {
        self.spec.files.get(index as usize)
    }

    fn is_abandoned(&self, index: u32) -> bool {
        self.abandoned.get(index as usize).is_some_and(|abandoned| abandoned.load(Ordering::Relaxed))
    }

    fn file_ended(&mut self) -> Result<(), AggregateError> {
        let Some((_, tally)) = self.current.take() else { return Ok(()) };
        let max = self.spec.groups_max;
        self.total.merge(tally, max).map_err(|GroupsFull| AggregateError::GroupsFull { max })
    }

    /// All parts that were handed out are in: which files are to be done again, each as a whole.
    ///
    /// # Errors
    /// [`AggregateError::GroupsFull`] if the last file's groups are too many.
    pub fn end_pass(&mut self) -> Result<Vec<u32>, AggregateError> {
        self.file_ended()?;
        Ok(std::mem::take(&mut self.again))
    }

    /// Rows read so far, and those of them that could not be used.
    #[must_use]
    pub fn rows(&self) -> (u64, u64) {
        let current = self.current.as_ref().map_or((0, 0), |(_, tally)| (tally.rows, tally.bad));
        (self.total.rows + current.0, self.total.bad + current.1)
    }

    /// What everything comes to, and which files had to be done in one pass.
    #[must_use]
    pub fn finish(&mut self) -> (Tally, Vec<(u32, Option<Stray>)>) {
        let mut tally = std::mem::take(&mut self.total);
        tally.bad_first.sort_by_key(|(file, _)| *file);
        if self.spec.keys.is_empty() {
            tally.groups.ensure_one();
        }
        (tally, std::mem::take(&mut self.one_pass))
    }
}

impl Tally {
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
