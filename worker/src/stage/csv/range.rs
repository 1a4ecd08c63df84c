//! Aggregates one range of a file: reads it in pieces that fit the CPU's cache, and splits them into rows.
//!
//! The file is read, not mapped. If the file becomes shorter meanwhile, a read gives an error instead of a signal.
//! Copying into a small buffer also costs less than the page faults of a mapping.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use shared::csv::{CsvFile, Done, Found, Place, Stray, StrayKind};

use super::scan::{Scanner, StrayAt};
use super::table::Table;
use super::{Stop, Work};

/// Bytes per read. Together with the positions found in it, a piece fits the CPU's L2 cache.
const PIECE_BYTES: usize = 128 * 1024;

/// Maximum length of a row that is held whole. A file with a longer one is read in one pass, which holds only the
/// cells that are used.
pub(super) const ROW_BYTES_MAX: usize = 32 << 20;

/// A buffer that starts at a row, and how much of it is filled.
pub(super) struct Window {
    buffer: Vec<u8>,
    len: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; PIECE_BYTES], len: 0 }
    }

    pub(super) fn text(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Returns space for more text, at most `max` bytes of it.
    pub(super) fn room(&mut self, max: u64) -> &mut [u8] {
        if self.len == self.buffer.len() {
            // The buffer is full and no row ends in it. Double it, so that a long row is scanned only a few times.
            self.buffer.resize(self.len * 2, 0);
        }
        let end = self.buffer.len().min(self.len.saturating_add(usize::try_from(max).unwrap_or(usize::MAX)));
        self.buffer.get_mut(self.len..end).unwrap_or_default()
    }

    pub(super) fn filled(&mut self, bytes: usize) {
        self.len += bytes;
    }

    /// Removes the first bytes, which are whole rows.
    pub(super) fn used(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.len, 0);
        self.len -= bytes;
    }

    pub(super) const fn is_too_long(&self) -> bool {
        self.len >= ROW_BYTES_MAX
    }
}

impl Work<'_> {
    /// Aggregates the rows from `start` to `end`.
    pub(super) fn range(&self, file: &CsvFile, start: u64, end: u64, last: bool) -> Result<Done, Stop> {
        let raw = self.open(file)?;
        let done = self.rows(&raw, file, (start, end), last)?;
        self.unchanged(&raw, file)?;
        Ok(done)
    }

    fn rows(&self, raw: &File, file: &CsvFile, (start, end): (u64, u64), last: bool) -> Result<Done, Stop> {
        let mut table = Table::new(self.spec, file);
        let mut scanner = Scanner::new(file.delimiter);
        let mut window = Window::new();
        // Position of the window in the file.
        let mut at = start;
        loop {
            let read_to = at + window.text().len() as u64;
            let count = read(raw, window.room(end - read_to), read_to)?;
            window.filled(count);
            let here = read_to + count as u64;
            let is_end = here == end;
            let begins = at;
            let place = |byte: usize| Place::Offset(begins + byte as u64);
            let stray = |stray: StrayAt| Stop::stray(place(stray.at), stray.kind);
            let used = scanner.scan(window.text(), is_end && last).map_err(stray)?;
            table.take(window.text(), &scanner, &place)?;
            if is_end {
                if used < window.text().len() {
                    return Err(stray(StrayAt { at: used, kind: StrayKind::Cut }));
                }
                return Ok(table.finish());
            }
            window.used(used);
            at += used as u64;
            if window.is_too_long() {
                return Err(stray(StrayAt { at: 0, kind: StrayKind::Open }));
            }
            self.show(here - start);
        }
    }
}

fn read(file: &File, room: &mut [u8], at: u64) -> Result<usize, Stop> {
    loop {
        match file.read_at(room, at) {
            Ok(0) if !room.is_empty() => {
                let why = format!("it ends at byte {at}: it became shorter while it was read");
                return Err(Stop(Found::Failed(why)));
            }
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stop::failed("cannot read it", &error)),
        }
    }
}

impl Stop {
    pub(super) const fn stray(place: Place, kind: StrayKind) -> Self {
        Self(Found::Stray(Stray { place, kind }))
    }
}
