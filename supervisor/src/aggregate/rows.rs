//! Says which rows were bad, and why a file was read in one pass, by line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use shared::csv::{Bad, BadRow, CsvFile, CsvSpec, LineCounter, Place, Stray, StrayKind};

use super::{Merged, OnePass};
use crate::units;

/// Bytes read at once while lines are counted.
const PIECE_BYTES: usize = 256 * 1024;

/// Returns what the user should know about rows and files: a line for each file that was read in one pass, one
/// for each bad row that is remembered, and one for all bad rows together.
pub(crate) fn remarks(spec: &CsvSpec, merged: &Merged, one_pass: &[OnePass]) -> Vec<String> {
    let of_pass = |(file, stray): &OnePass| Some(in_one_pass(spec.files.get(*file as usize)?, *stray));
    let mut remarks: Vec<String> = one_pass.iter().filter_map(of_pass).collect();
    remarks.extend(merged.bad_first.iter().map(|(file, row)| one(spec, *file, row)));
    if merged.bad > 0 {
        let shown = merged.bad_first.len();
        let first =
            if merged.bad > shown as u64 { format!(" (the first {shown} above)") } else { String::new() };
        remarks.push(format!(
            "{} of {} not used{first}; --strict makes that a failure",
            units::counted(merged.bad, "row"),
            units::count(merged.rows)
        ));
    }
    remarks
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

/// Says why a file was read in one pass.
fn in_one_pass(file: &CsvFile, stray: Option<Stray>) -> String {
    let Some(stray) = stray else {
        return format!(
            "{}: read in one pass by one worker, because it could not be cut: it has quoted cells of more than 256 KiB",
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

/// Returns `file:line`, or the byte if the file cannot be read to find the line.
fn place(file: &CsvFile, place: Place) -> String {
    let path = &file.path;
    match place {
        Place::Line(line) => format!("{}:{line}", path.display()),
        // The file may be open under another name than the one that is shown.
        Place::Offset(offset) => match line_of(&file.at, offset) {
            Ok(line) => format!("{}:{line}", path.display()),
            Err(_) => format!("{}, byte {offset}", path.display()),
        },
    }
}

/// Counts the lines up to a byte. Lines are counted only for rows that are shown, so a clean file is read once.
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
