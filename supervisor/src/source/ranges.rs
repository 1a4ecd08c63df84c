//! Cuts CSV files into ranges that begin and end where rows do, without reading what lies between.
//!
//! [`cut`](super::cut) finds from the text behind a cut where the next row begins. If there is no quote for a
//! quarter of a MiB, the text is assumed to be outside of quotes.
//!
//! Invariant: every cut is checked. The first range begins at a row. A worker whose range begins at a row checks
//! every quote in it, and that it ends at a line end outside of quotes; so the next range begins at a row too. If a
//! check fails, the file is read again in one pass. Cuts depend only on the file, never on the workers.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use shared::csv::{CsvFile, Part, write_part};
use shared::file_state::FileState;

use super::cut::{Decision, Rules};
use super::{Progress, SourceError, SourceItem, Targets};

/// Ranges of a file, if their size is within the limits below: enough that the workers end together, and
/// few enough that merging costs nothing beside aggregating.
const RANGES: u64 = 128;

/// Smallest range. In a smaller one, the message would cost more than the work.
const RANGE_BYTES_MIN: u64 = 1 << 20;

/// Largest range: the work that is lost with a worker.
const RANGE_BYTES_MAX: u64 = 64 << 20;

/// Bytes read at first behind a cut: some hundred rows, nearly always enough.
const LOOK_BYTES: usize = 16 << 10;

/// Most bytes read behind a cut.
const LOOK_BYTES_MAX: usize = 256 << 10;

/// Returns the name of a part, for a person.
pub(crate) fn shown_part(file: &Path, part: Part) -> String {
    match part {
        Part::Range { start, end, .. } => format!("{}, bytes {start} to {end}", file.display()),
        Part::Whole { .. } => file.display().to_string(),
    }
}

/// Parts of CSV files, as targets.
#[derive(Debug)]
pub struct Ranges {
    files: Vec<CsvFile>,
    /// Files not begun, and whether each is read as a whole.
    waiting: VecDeque<(u32, bool)>,
    cutting: Option<Cutting>,
    next_id: u64,
    bytes_read: u64,
    bytes_total: u64,
}

/// The file that is being cut.
#[derive(Debug)]
struct Cutting {
    index: u32,
    raw: File,
    /// Where the next range begins.
    start: u64,
    /// Where the next cut is tried.
    cut: u64,
    step: u64,
}

impl Ranges {
    /// Hands out all of `files`, cut into ranges where possible.
    #[must_use]
    pub fn all(files: Vec<CsvFile>) -> Self {
        let waiting = (0..).zip(&files).map(|(index, file)| (index, !file.can_be_split())).collect();
        Self::new(files, waiting)
    }

    /// Hands out some of `files`, each as a whole.
    #[must_use]
    pub fn whole(files: Vec<CsvFile>, which: &[u32]) -> Self {
        let waiting = which.iter().map(|index| (*index, true)).collect();
        Self::new(files, waiting)
    }

    fn new(files: Vec<CsvFile>, waiting: VecDeque<(u32, bool)>) -> Self {
        let bytes_total =
            waiting.iter().filter_map(|(index, _)| files.get(*index as usize)).map(|file| file.bytes).sum();
        Self { files, waiting, cutting: None, next_id: 0, bytes_read: 0, bytes_total }
    }

    /// Returns the most parts that there can be.
    #[must_use]
    pub fn parts_max(files: &[CsvFile]) -> u64 {
        files
            .iter()
            .map(|file| if file.can_be_split() { file.bytes.div_ceil(step(file)).max(1) } else { 1 })
            .sum()
    }

    fn next_part(&mut self) -> Result<Option<Part>, SourceError> {
        loop {
            if let Some(cutting) = &mut self.cutting {
                let file = self.files.get(cutting.index as usize);
                let found = file.map(|file| cutting.next(file));
                match found.transpose().map_err(|(at, error)| self.unreadable(at, error))?.flatten() {
                    Some(part) => return Ok(Some(part)),
                    None => self.cutting = None,
                }
            }
            let Some((index, whole)) = self.waiting.pop_front() else { return Ok(None) };
            let Some(file) = self.files.get(index as usize) else { continue };
            if whole {
                return Ok(Some(Part::Whole { file: index }));
            }
            let raw = open(file)?;
            let step = step(file);
            self.cutting = Some(Cutting { index, raw, start: file.data_start, cut: step, step });
        }
    }

    fn unreadable(&self, at: u64, error: io::Error) -> SourceError {
        let file = self.cutting.as_ref().and_then(|cutting| self.files.get(cutting.index as usize));
        SourceError::Cut { path: file.map_or_else(PathBuf::new, |file| file.path.clone()), at, error }
    }
}

impl Targets for Ranges {
    fn next_batch(&mut self, out: &mut Vec<SourceItem>, _max: usize) -> Result<bool, SourceError> {
        // One at a time: workers wait for it, and the next one needs a read from the disk.
        let Some(part) = self.next_part()? else { return Ok(false) };
        self.bytes_read += match part {
            Part::Range { start, end, .. } => end - start,
            Part::Whole { file } => self.files.get(file as usize).map_or(0, |file| file.bytes),
        };
        out.push(SourceItem {
            id: self.next_id,
            inputs: 1,
            input: write_part(part),
            kept: Vec::new(),
            host: None,
            refused: None,
        });
        self.next_id += 1;
        Ok(true)
    }

    fn leave_out(&mut self, file: u32) {
        self.cutting.take_if(|cutting| cutting.index == file);
    }

    fn position(&self) -> Progress {
        let ended = self.waiting.is_empty() && self.cutting.is_none();
        Progress {
            items: self.next_id,
            items_total: ended.then_some(self.next_id),
            bytes_read: self.bytes_read,
            bytes_total: Some(self.bytes_total),
        }
    }
}

/// Opens a file to cut, if it is unchanged.
fn open(file: &CsvFile) -> Result<File, SourceError> {
    let refused = |error| SourceError::Open { path: file.path.clone(), error };
    let raw = File::open(&file.at).map_err(refused)?;
    let now = FileState::from(&raw.metadata().map_err(refused)?);
    match file.state.change(&now) {
        None => Ok(raw),
        Some(what) => Err(SourceError::Changed { path: file.path.clone(), what }),
    }
}

fn step(file: &CsvFile) -> u64 {
    (file.bytes / RANGES).clamp(RANGE_BYTES_MIN, RANGE_BYTES_MAX)
}

impl Cutting {
    fn next(&mut self, file: &CsvFile) -> Result<Option<Part>, (u64, io::Error)> {
        if self.start >= file.bytes {
            return Ok(None);
        }
        let start = self.start;
        let rules = Rules { delimiter: file.delimiter, fields: file.fields };
        let end = loop {
            if self.cut >= file.bytes {
                break file.bytes;
            }
            let at = self.cut;
            self.cut += self.step;
            if at <= start {
                continue;
            }
            match find(&self.raw, at, rules).map_err(|error| (at, error))? {
                Some(found) if found < file.bytes => break found,
                Some(_) | None => {}
            }
        };
        self.start = end;
        Ok(Some(Part::Range { file: self.index, start, end, last: end == file.bytes }))
    }
}

/// Finds where a row begins, not far after `at`; `None` if that cannot be told.
fn find(raw: &File, at: u64, rules: Rules) -> io::Result<Option<u64>> {
    let mut text = Vec::new();
    let mut look = LOOK_BYTES;
    loop {
        let complete = read_more(raw, at, &mut text, look)?;
        let enough = complete || look >= LOOK_BYTES_MAX;
        match rules.row_begins(&text, enough) {
            Decision::At(found) => return Ok(Some(at + found as u64)),
            Decision::Never => return Ok(None),
            Decision::NotYet if enough => return Ok(None),
            Decision::NotYet => look = (look * 4).min(LOOK_BYTES_MAX),
        }
    }
}

/// Reads the file from `at` on into `text`, up to `look` bytes. Returns whether the file ends there.
fn read_more(raw: &File, at: u64, text: &mut Vec<u8>, look: usize) -> io::Result<bool> {
    let mut filled = text.len();
    text.resize(look, 0);
    while filled < look {
        match raw.read_at(text.get_mut(filled..).unwrap_or_default(), at + filled as u64) {
            Ok(0) => {
                text.truncate(filled);
                return Ok(true);
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn ranges_cover_a_file_once_and_end_at_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"id,text\n").unwrap();
        for n in 0..60_000_u32 {
            write!(file, "{n},\"line one\nand \"\"two\"\" of {n}, with a comma\"\n").unwrap();
        }
        drop(file);
        let text = std::fs::read(&path).unwrap();
        let bytes = text.len() as u64;
        let spec = CsvFile {
            state: FileState::from(&std::fs::metadata(&path).unwrap()),
            at: path.clone(),
            path,
            delimiter: b',',
            fields: 2,
            positions: vec![0],
            data_start: 8,
            bytes,
            ..CsvFile::default()
        };
        let mut ranges = Ranges::all(vec![spec.clone()]);
        let (mut items, mut at) = (Vec::new(), 8);
        while ranges.next_batch(&mut items, 1).unwrap() {}
        assert!(items.len() >= 3, "{}", items.len());
        for item in &items {
            let Some(Part::Range { start, end, last, .. }) = shared::csv::read_part(&item.input) else {
                panic!()
            };
            assert_eq!((start, last), (at, end == bytes));
            assert!(text[..end as usize].ends_with(b"comma\"\n"), "{end}");
            at = end;
        }
        assert_eq!(at, bytes);
        assert_eq!(ranges.position().items_total, Some(items.len() as u64));

        // The rest of a file that is left out is not cut; the next file is.
        let mut ranges = Ranges::all(vec![spec.clone(), spec.clone()]);
        let mut items = Vec::new();
        assert!(ranges.next_batch(&mut items, 1).unwrap());
        ranges.leave_out(0);
        assert!(ranges.next_batch(&mut items, 1).unwrap());
        let files: Vec<_> =
            items.iter().filter_map(|item| shared::csv::read_part(&item.input)).map(Part::file).collect();
        assert_eq!(files, [0, 1]);

        std::fs::write(&spec.path, "id,text\n").unwrap();
        let mut ranges = Ranges::all(vec![spec]);
        let error = ranges.next_batch(&mut items, 1).unwrap_err().to_string();
        assert!(error.contains("x.csv: it changed while it was read: it became shorter"), "{error}");
    }
}
