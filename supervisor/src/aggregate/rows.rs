//! Says which rows were bad, and why a file was read in one pass, by line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use shared::csv::{Bad, BadRow, CsvFile, CsvSpec, LineCounter, Place, Stray, StrayKind};

use crate::merge::Tally;
use crate::units;

/// Read at once while lines are counted.
const PIECE_BYTES: usize = 256 * 1024;

/// One line for each bad row that is remembered, and one for all together.
#[must_use]
pub(super) fn bad(spec: &CsvSpec, tally: &Tally) -> Vec<String> {
    let mut said: Vec<String> = tally.bad_first.iter().map(|(file, row)| one(spec, *file, row)).collect();
    if tally.bad > 0 {
        let first = if tally.bad > said.len() as u64 {
            format!(" (the first {} above)", said.len())
        } else {
            String::new()
        };
        said.push(format!(
            "{} of {} not used{first}; --strict makes that a failure",
            units::counted(tally.bad, "row"),
            units::count(tally.rows)
        ));
    }
    said
}

fn one(spec: &CsvSpec, file: u32, row: &BadRow) -> String {
    let Some(file) = spec.files.get(file as usize) else { return String::new() };
    let name = |column: u32| spec.columns.get(column as usize).map_or("", String::as_str);
    let why = match &row.bad {
        Bad::Ragged(cells) => {
            format!(
                "{} where there should be {}",
                units::counted(*cells, "cell"),
                units::count(file.fields.into())
            )
        }
        Bad::NotANumber { column, cell } => {
            format!("{} is \"{}\", which is no number", name(*column), String::from_utf8_lossy(cell))
        }
        Bad::TooLong { column } => format!("{} has more than a MiB, and is used", name(*column)),
    };
    format!("{}: {why}", place(file, row.place))
}

/// Why a file was read in one pass.
#[must_use]
pub(super) fn one_pass(file: &CsvFile, stray: Option<Stray>) -> String {
    let Some(stray) = stray else {
        return format!(
            "{}: read in one pass by one worker, for it could not be cut: it has quoted cells of more than 256 KiB",
            file.path.display()
        );
    };
    let why = match stray.kind {
        StrayKind::Inside => "a quote inside of a cell that does not begin with one",
        StrayKind::After => "text after a closing quote",
        StrayKind::Open => "a row without an end: a quote is not closed, or the row has more than 32 MiB",
        StrayKind::Cut => "a row that does not end where it should",
    };
    format!(
        "{}: {why}; the file was read in one pass by one worker, with quotes taken as most readers take them",
        place(file, stray.place)
    )
}

/// `file:line`, or the byte if its line cannot be found out any more.
fn place(file: &CsvFile, place: Place) -> String {
    let path = &file.path;
    match place {
        Place::Line(line) => format!("{}:{line}", path.display()),
        // What is shown by its name may be open under another.
        Place::Offset(offset) => match line_of(&file.at, offset) {
            Ok(line) => format!("{}:{line}", path.display()),
            Err(_) => format!("{}, byte {offset}", path.display()),
        },
    }
}

/// Counts the lines up to a byte. Only what is shown is counted, so a clean file is read once.
fn line_of(path: &Path, offset: u64) -> io::Result<u64> {
    let mut file = File::open(path)?.take(offset);
    let mut lines = LineCounter::default();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(lines.line_after(&[])),
            Ok(count) => lines.add(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
