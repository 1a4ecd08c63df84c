//! A whole file in one pass: what is packed, what has to be decoded first, and what does not keep
//! to the rules by which a file is cut.
//!
//! Strictly first, with the same scanner as a range. At the first stray quote all that was found is
//! dropped, and the file is read once more with csv-core, which makes of stray quotes what other readers make of
//! them. Neither holds more than a row, and the second not even that.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::rc::Rc;

use csv_core::ReadFieldResult;
use shared::csv::{CELL_BYTES_MAX, CsvFile, Done, Found, LineCounter, Place, Stray, StrayKind, Text};

use super::range::Window;
use super::scan::{Scanner, StrayAt};
use super::table::Table;
use super::{Stop, Work};

/// Read at once when every byte is looked at by itself.
const PIECE_BYTES: usize = 64 * 1024;

impl Work<'_> {
    /// Aggregates all rows of a file.
    pub(super) fn whole(&self, file: &CsvFile) -> Result<Done, Stop> {
        let raw = self.open(file)?;
        let done = match self.strictly(&raw, file) {
            Err(Stop(Found::Stray(stray))) => {
                let done = self.leniently(&raw, file)?;
                Done { stray: Some(stray), ..done }
            }
            found => found?,
        };
        self.unchanged(&raw, file)?;
        Ok(done)
    }

    /// The text of the file from the first row on, and the lines before that.
    fn text<'a>(&self, mut raw: &'a File, file: &CsvFile) -> Result<(Counted<'a>, LineCounter), Stop> {
        raw.rewind().map_err(|error| Stop::failed("cannot read it", &error))?;
        let read = Rc::new(Cell::new(0));
        let text = Text::new(Reading { raw, read: Rc::clone(&read), bytes: file.bytes }, file);
        let mut counted =
            Counted { text: text.map_err(|error| Stop::failed("cannot unpack it", &error))?, read };
        let mut lines = LineCounter::default();
        let mut left = file.data_start;
        let mut piece = vec![0; PIECE_BYTES];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let count = counted.read(piece.get_mut(..most).unwrap_or_default())?;
            if count == 0 {
                break;
            }
            lines.add(piece.get(..count).unwrap_or_default());
            left -= count as u64;
        }
        Ok((counted, lines))
    }

    fn strictly(&self, raw: &File, file: &CsvFile) -> Result<Done, Stop> {
        let (mut text, mut lines) = self.text(raw, file)?;
        let mut table = Table::new(self.spec, file);
        let mut scanner = Scanner::new(file.delimiter);
        let mut window = Window::new();
        loop {
            let count = text.fill(window.room(u64::MAX))?;
            window.filled(count);
            let piece = window.text();
            let place = |byte: usize| Place::Line(lines.line_after(piece.get(..byte).unwrap_or_default()));
            let stray = |stray: StrayAt| Stop::stray(place(stray.at), stray.kind);
            let used = scanner.scan(piece, count == 0).map_err(stray)?;
            table.take(piece, &scanner, &place)?;
            if count == 0 {
                return Ok(table.finish());
            }
            lines.add(piece.get(..used).unwrap_or_default());
            window.used(used);
            if window.is_too_long() {
                return Err(Stop(Found::Stray(Stray {
                    place: Place::Line(lines.line_after(&[])),
                    kind: StrayKind::Open,
                })));
            }
            self.show(text.read.get());
        }
    }

    fn leniently(&self, raw: &File, file: &CsvFile) -> Result<Done, Stop> {
        let (mut text, lines) = self.text(raw, file)?;
        let mut reader = csv_core::ReaderBuilder::new().delimiter(file.delimiter).build();
        let mut rows = Rows::new(Table::new(self.spec, file), file, lines);
        let mut piece = vec![0; PIECE_BYTES];
        let mut cell = vec![0; PIECE_BYTES];
        loop {
            let count = text.read(&mut piece)?;
            let mut rest = piece.get(..count).unwrap_or_default();
            loop {
                let (result, read, written) = reader.read_field(rest, &mut cell);
                let (consumed, after) = rest.split_at(read);
                rest = after;
                rows.consumed(consumed);
                rows.extend(cell.get(..written).unwrap_or_default());
                match result {
                    ReadFieldResult::InputEmpty => break,
                    ReadFieldResult::OutputFull => {}
                    ReadFieldResult::Field { record_end } => rows.cell_ended(record_end)?,
                    ReadFieldResult::End => return Ok(rows.table.finish()),
                }
                // To the reader, nothing is the end of the text.
                if rest.is_empty() && count > 0 {
                    break;
                }
            }
            self.show(text.read.get());
        }
    }
}

/// Rows as csv-core gives them: cell by cell, each in as many pieces as it likes.
struct Rows<'a> {
    table: Table<'a>,
    /// For each cell of a row, which of the wanted columns it is; a column may be wanted more than once.
    wanted: Vec<u32>,
    /// The wanted cells of this row.
    cells: Vec<Vec<u8>>,
    field: usize,
    lines: LineCounter,
    /// The line this row begins on, once it has begun.
    line: Option<u64>,
}

impl<'a> Rows<'a> {
    fn new(table: Table<'a>, file: &CsvFile, lines: LineCounter) -> Self {
        let wanted = file.positions.clone();
        Self { table, cells: vec![Vec::new(); wanted.len()], wanted, field: 0, lines, line: None }
    }

    /// What the reader has read of the text.
    fn consumed(&mut self, text: &[u8]) {
        if self.line.is_none() {
            // Line ends before a row are blank lines, or the rest of the last row's.
            let blank = text.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank < text.len() {
                self.line = Some(self.lines.line_after(text.get(..blank).unwrap_or_default()));
            }
        }
        self.lines.add(text);
    }

    fn extend(&mut self, text: &[u8]) {
        for (position, cell) in self.wanted.iter().zip(&mut self.cells) {
            // One byte more than may be says that it is too long.
            if *position as usize == self.field && cell.len() <= CELL_BYTES_MAX {
                let room = CELL_BYTES_MAX + 1 - cell.len();
                cell.extend_from_slice(text.get(..room).unwrap_or(text));
            }
        }
    }

    fn cell_ended(&mut self, row_ended: bool) -> Result<(), Stop> {
        self.field += 1;
        if row_ended {
            let line = self.line.take().unwrap_or_else(|| self.lines.line_after(&[]));
            self.table.take_row(self.field, self.cells.iter().map(Vec::as_slice), Place::Line(line))?;
            self.cells.iter_mut().for_each(Vec::clear);
            self.field = 0;
        }
        Ok(())
    }
}

/// The text, and how much of the file it has taken so far.
struct Counted<'a> {
    text: Text<'a>,
    read: Rc<Cell<u64>>,
}

impl Counted<'_> {
    /// Reads until there is no more room, or no more text: a long row is looked through from its beginning each time.
    fn fill(&mut self, room: &mut [u8]) -> Result<usize, Stop> {
        let mut filled = 0;
        while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read(rest)? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn read(&mut self, room: &mut [u8]) -> Result<usize, Stop> {
        loop {
            match self.text.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let what = format!("cannot read or unpack it near byte {}", self.read.get());
                    return Err(Stop::failed(&what, &error));
                }
                Ok(count) => return Ok(count),
            }
        }
    }
}

/// The file as it is on the disk, up to where it ended when the run began.
struct Reading<'a> {
    raw: &'a File,
    read: Rc<Cell<u64>>,
    bytes: u64,
}

impl Read for Reading<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.saturating_sub(self.read.get())).unwrap_or(usize::MAX);
        let most = room.len().min(left);
        let count = self.raw.read(room.get_mut(..most).unwrap_or_default())?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ends there, before where it ended when the run began: it became shorter while it was read",
            ));
        }
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}
