//! Aggregates a whole file in one pass: a file that is compressed, that must be decoded first, or that has quotes
//! RFC 4180 does not allow.
//!
//! The first attempt is strict, with the same scanner as a range. At the first stray quote its results are
//! dropped, and the file is read again with csv-core, which handles stray quotes as other readers do. The first
//! attempt holds at most one row, the second only the cells that are used.

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

/// Bytes per read when every byte is examined on its own.
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

    /// Opens the file's text at the first row. Also returns the number of lines before it.
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
                // An empty read tells the reader that the text ends.
                if rest.is_empty() && count > 0 {
                    break;
                }
            }
            self.show(text.read.get());
        }
    }
}

/// Collects the rows that csv-core returns cell by cell, each cell in any number of pieces.
struct Rows<'a> {
    table: Table<'a>,
    /// For each cell of a row, its wanted columns. A column may be wanted more than once.
    wanted: Vec<u32>,
    /// The wanted cells of this row.
    cells: Vec<Vec<u8>>,
    field: usize,
    lines: LineCounter,
    /// The line on which this row begins, once it has begun.
    line: Option<u64>,
}

impl<'a> Rows<'a> {
    fn new(table: Table<'a>, file: &CsvFile, lines: LineCounter) -> Self {
        let wanted = file.positions.clone();
        Self { table, cells: vec![Vec::new(); wanted.len()], wanted, field: 0, lines, line: None }
    }

    /// Handles the text that the reader has consumed.
    fn consumed(&mut self, text: &[u8]) {
        if self.line.is_none() {
            // Line ends before a row are blank lines, or belong to the previous row's end.
            let blank = text.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank < text.len() {
                self.line = Some(self.lines.line_after(text.get(..blank).unwrap_or_default()));
            }
        }
        self.lines.add(text);
    }

    fn extend(&mut self, text: &[u8]) {
        for (position, cell) in self.wanted.iter().zip(&mut self.cells) {
            // One byte above the limit marks the cell as too long.
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

/// The text, and how much of the file has been read for it.
struct Counted<'a> {
    text: Text<'a>,
    read: Rc<Cell<u64>>,
}

impl Counted<'_> {
    /// Reads until the buffer is full or the text ends, because a long row is scanned from its start each time.
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

/// Opens the file on disk, limited to its size when the run began.
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
                "it ends there: it became shorter while it was read",
            ));
        }
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}
