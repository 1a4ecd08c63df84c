//! Turns rows into groups: decides which rows count, finds each row's group, and aggregates its cells.
//!
//! Each row is handled by itself up to its group, then in batches with one small loop per aggregated column. A row
//! is used completely or not at all: bad cells are found before any cell of the row counts.

use memchr::memchr;
use shared::csv::{
    BAD_SHOWN_MAX, Bad, BadRow, CELL_BYTES_MAX, CsvFile, CsvSpec, Done, Found, Groups, GroupsFull, Kept,
    Number, Place, push_key_cell, short,
};

use super::scan::Scanner;

/// Rows per batch. Their cells are then still in the CPU's cache when the columns are aggregated.
const BATCH_ROWS: usize = 2048;

/// Bytes of copied cells that end a batch, however few rows it has.
const SIDE_BYTES: usize = 4 << 20;

/// Maximum length of a cell that an error message shows.
const SHOWN_BYTES: usize = 40;

/// Marks a cell that had doubled quotes and was copied without them.
const IN_SIDE: u32 = 1 << 31;

/// Position of a cell.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// A column of the spec, and how its cells are used.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// Index of the cell in a row.
    position: usize,
    /// Whether cells are parsed as numbers.
    number: bool,
    /// Whether a cell that is not a number makes the row bad.
    must_be_number: bool,
}

/// The groups of a part, while they are being built.
#[derive(Debug)]
pub(super) struct Table<'a> {
    spec: &'a CsvSpec,
    fields: usize,
    wanted: Vec<Wanted>,
    done: Done,
    /// Cells and numbers of the batch, row by row, one per `wanted` column.
    cells: Vec<Span>,
    numbers: Vec<Number>,
    /// Whether one of the numbers is [`Number::Long`]. Only then does a sum need the cells.
    has_long: bool,
    /// The group of each row of the batch.
    groups: Vec<u32>,
    /// Copies of cells that had doubled quotes.
    side: Vec<u8>,
    key: Vec<u8>,
}

impl<'a> Table<'a> {
    pub(super) fn new(spec: &'a CsvSpec, file: &CsvFile) -> Self {
        let done = Done { groups: Groups::new(spec), ..Done::default() };
        let wanted = (0..).zip(&file.positions).map(|(column, position)| {
            let mut kept = done.groups.columns.iter().filter(|kept| kept.source == column);
            let number = kept.clone().any(|kept| kept.reads_numbers());
            Wanted {
                position: *position as usize,
                number,
                must_be_number: kept.any(|kept| kept.needs_numbers()),
            }
        });
        Self {
            spec,
            fields: file.fields as usize,
            wanted: wanted.collect(),
            done,
            cells: Vec::new(),
            numbers: Vec::new(),
            has_long: false,
            groups: Vec::new(),
            side: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Adds the rows that `scanner` found in `text`. `place` turns a row's position in the text into one in the
    /// file.
    pub(super) fn take(
        &mut self,
        text: &[u8],
        scanner: &Scanner,
        place: &dyn Fn(usize) -> Place,
    ) -> Result<(), GroupsFull> {
        let (mut first, mut start) = (0, 0);
        let all = scanner.ends();
        for &upto in &scanner.rows {
            let ends = all.get(first..upto as usize).unwrap_or_default();
            first = upto as usize;
            let begin = start;
            let end = ends.last().copied().unwrap_or(start);
            start = end + 1;
            if ends.len() != self.fields {
                // A blank line is not a row, and neither is the empty text between CR and LF.
                if !(ends.len() == 1 && begin == end) {
                    self.bad(place(begin as usize), Bad::Ragged(ends.len() as u64));
                }
                continue;
            }
            if begin == end && ends.len() == 1 {
                continue;
            }
            for column in 0..self.wanted.len() {
                let span = self.span(text, ends, begin, column);
                self.cells.push(span);
            }
            self.row(text, || place(begin as usize))?;
        }
        self.flush(text);
        Ok(())
    }

    /// Adds a row that is already unquoted: its wanted cells, out of `fields` cells.
    pub(super) fn take_row<'c>(
        &mut self,
        fields: usize,
        cells: impl Iterator<Item = &'c [u8]>,
        place: Place,
    ) -> Result<(), GroupsFull> {
        if fields != self.fields {
            self.bad(place, Bad::Ragged(fields as u64));
            return Ok(());
        }
        for cell in cells {
            let start = self.side.len() as u32;
            self.side.extend_from_slice(cell);
            self.cells.push(Span { start: start | IN_SIDE, end: self.side.len() as u32 });
        }
        self.row(&[], || place)?;
        // Cells of bad or skipped rows are copied too, but do not fill a batch.
        if self.side.len() >= SIDE_BYTES {
            self.flush(&[]);
        }
        Ok(())
    }

    /// Finishes the part.
    pub(super) fn finish(mut self) -> Done {
        self.flush(&[]);
        self.done
    }

    #[inline(always)]
    fn span(&mut self, text: &[u8], ends: &[u32], begin: u32, column: usize) -> Span {
        let Some(Wanted { position, .. }) = self.wanted.get(column) else { return Span { start: 0, end: 0 } };
        let before = position.checked_sub(1).and_then(|before| ends.get(before));
        let start = before.map_or(begin, |end| end + 1);
        let end = ends.get(*position).copied().unwrap_or(start);
        if text.get(start as usize) == Some(&b'"') && end > start {
            return self.unquote(text, start + 1, end - 1);
        }
        Span { start, end }
    }

    #[inline(never)]
    fn unquote(&mut self, text: &[u8], start: u32, end: u32) -> Span {
        let inner = text.get(start as usize..end as usize).unwrap_or_default();
        let Some(mut at) = memchr(b'"', inner) else { return Span { start, end } };
        let begin = self.side.len() as u32;
        let mut rest = inner;
        loop {
            // Keep the first of two quotes.
            let (cell, after) = rest.split_at((at + 1).min(rest.len()));
            self.side.extend_from_slice(cell);
            rest = after.get(1..).unwrap_or_default();
            match memchr(b'"', rest) {
                Some(next) => at = next,
                None => break,
            }
        }
        self.side.extend_from_slice(rest);
        Span { start: begin | IN_SIDE, end: self.side.len() as u32 }
    }

    /// Accepts the row whose cells are the last of the batch, or removes them.
    #[inline(always)]
    fn row(&mut self, text: &[u8], place: impl FnOnce() -> Place) -> Result<(), GroupsFull> {
        let width = self.wanted.len();
        let first = self.cells.len() - width;
        let row = self.cells.get(first..).unwrap_or_default();
        if !self.spec.filters.is_empty() {
            let holds = self.spec.filters.iter().all(|filter| {
                row.get(filter.column as usize)
                    .is_some_and(|span| filter.holds(cell(text, &self.side, *span)))
            });
            if !holds {
                self.done.rows += 1;
                self.cells.truncate(first);
                return Ok(());
            }
        }
        for (column, (wanted, span)) in self.wanted.iter().zip(row).enumerate() {
            let bytes = cell(text, &self.side, *span);
            // Each case pushes to the vector itself. A value that is pushed where the cases meet goes through
            // memory, which costs time.
            if !wanted.number && bytes.len() <= CELL_BYTES_MAX {
                self.numbers.push(Number::Not);
                continue;
            }
            if wanted.number
                && let Some((mantissa, places)) = short(bytes)
            {
                self.numbers.push(Number::Exact { mantissa, places });
                continue;
            }
            match usable(*wanted, column, bytes) {
                Ok(number) => {
                    self.has_long |= matches!(number, Number::Long(_));
                    self.numbers.push(number);
                }
                Err(bad) => {
                    self.cells.truncate(first);
                    self.numbers.truncate(first);
                    self.bad(place(), bad);
                    return Ok(());
                }
            }
        }
        let group = self.group(text, first)?;
        self.groups.push(group);
        if let Some(rows) = self.done.groups.rows.get_mut(group as usize) {
            *rows += 1;
        }
        self.done.rows += 1;
        if self.groups.len() >= BATCH_ROWS {
            self.flush(text);
        }
        Ok(())
    }

    #[inline(always)]
    fn group(&mut self, text: &[u8], first: usize) -> Result<u32, GroupsFull> {
        let Self { cells, side, key, done, spec, .. } = self;
        let row = cells.get(first..).unwrap_or_default();
        let of = |column: &u32| row.get(*column as usize).map_or(&[][..], |span| cell(text, side, *span));
        match spec.keys.as_slice() {
            [only] => done.groups.find(of(only), spec.groups_max),
            keys => {
                key.clear();
                for (n, column) in keys.iter().enumerate() {
                    push_key_cell(key, of(column), n + 1 == keys.len());
                }
                done.groups.find(key, spec.groups_max)
            }
        }
    }

    /// Aggregates the columns of the batch. Its cells are in `text` or unquoted copies.
    fn flush(&mut self, text: &[u8]) {
        let width = self.wanted.len();
        let groups = self.done.groups.len();
        for column in &mut self.done.groups.columns {
            column.grow(groups);
            let source = column.source as usize;
            let numbers = self.numbers.iter().skip(source).step_by(width.max(1));
            let cells = self.cells.iter().skip(source).step_by(width.max(1));
            let cells = cells.map(|span| cell(text, &self.side, *span));
            let of = self.groups.iter().map(|group| *group as usize);
            match &mut column.kept {
                Kept::Sums(kept) if !self.has_long => {
                    each(kept, of, numbers, |sum, number| sum.add(*number, &[]));
                }
                Kept::Sums(kept) => {
                    each(kept, of, numbers.zip(cells), |sum, (number, cell)| sum.add(*number, cell));
                }
                Kept::Moments(kept) => {
                    let values = numbers.map(|number| number.to_f64());
                    each(kept, of, values, |moments, value| {
                        value.into_iter().for_each(|value| moments.add(value))
                    });
                }
                Kept::Quantiles(kept) => {
                    let values = numbers.map(|number| number.to_f64());
                    each(kept, of, values, |digest, value| {
                        value.into_iter().for_each(|value| digest.add(value))
                    });
                }
                Kept::Extremes(side, kept) => {
                    let side = *side;
                    each(kept, of, numbers.zip(cells), |kept, (number, cell)| kept.add(side, *number, cell));
                }
                Kept::Present(kept) => {
                    each(kept, of, cells, |count, cell| *count += u64::from(!cell.is_empty()));
                }
                Kept::Distinct(kept) => each(kept, of, cells.filter_empty(), |distinct, cell| {
                    cell.into_iter().for_each(|cell| distinct.add(cell));
                }),
            }
        }
        self.cells.clear();
        self.numbers.clear();
        self.groups.clear();
        self.side.clear();
        self.has_long = false;
    }

    #[cold]
    fn bad(&mut self, place: Place, bad: Bad) {
        self.done.rows += 1;
        self.done.bad += 1;
        if self.done.bad_first.len() < BAD_SHOWN_MAX {
            self.done.bad_first.push(BadRow { place, bad });
        }
    }
}

/// Turns empty cells into `None`: they are not values.
trait FilterEmpty<'c>: Iterator<Item = &'c [u8]> + Sized {
    fn filter_empty(self) -> impl Iterator<Item = Option<&'c [u8]>> {
        self.map(|cell| (!cell.is_empty()).then_some(cell))
    }
}

impl<'c, I: Iterator<Item = &'c [u8]>> FilterEmpty<'c> for I {}

#[inline(always)]
fn each<T, V>(
    kept: &mut [T],
    groups: impl Iterator<Item = usize>,
    values: impl Iterator<Item = V>,
    mut add: impl FnMut(&mut T, V),
) {
    for (group, value) in groups.zip(values) {
        if let Some(kept) = kept.get_mut(group) {
            add(kept, value);
        }
    }
}

#[inline(always)]
fn cell<'c>(text: &'c [u8], side: &'c [u8], span: Span) -> &'c [u8] {
    let from = if span.start & IN_SIDE == 0 { text } else { side };
    from.get((span.start & !IN_SIDE) as usize..span.end as usize).unwrap_or_default()
}

/// Parses a cell that is long or not a number.
#[inline(never)]
fn usable(wanted: Wanted, column: usize, cell: &[u8]) -> Result<Number, Bad> {
    let column = column as u32;
    if cell.len() > CELL_BYTES_MAX {
        return Err(Bad::TooLong { column });
    }
    let number = if wanted.number { Number::parse_any(cell) } else { Number::Not };
    if number == Number::Not && wanted.must_be_number {
        return Err(Bad::NotANumber { column, cell: cell.get(..SHOWN_BYTES).unwrap_or(cell).to_vec() });
    }
    Ok(number)
}

impl From<GroupsFull> for super::Stop {
    fn from(_: GroupsFull) -> Self {
        Self(Found::GroupsFull)
    }
}

#[cfg(test)]
mod tests {
    use shared::csv::{Comparison, Filter};

    use super::*;

    #[test]
    fn rejected_rows_leave_no_trace() {
        let text = |columns: &[&str]| columns.iter().map(|name| (*name).to_owned()).collect();
        let spec = CsvSpec {
            files: Vec::new(),
            columns: text(&["a"]),
            keys: vec![0],
            aggregates: Vec::new(),
            filters: vec![Filter {
                column: 0,
                comparison: Comparison::Equal,
                text: b"no".to_vec(),
                number: None,
            }],
            groups_max: 1,
            encoding: None,
        };
        let file = CsvFile { fields: 1, positions: vec![0], ..CsvFile::default() };
        let mut table = Table::new(&spec, &file);
        let cell = vec![b'x'; 1 << 16];
        for row in 0..1000 {
            table.take_row(1, std::iter::once(cell.as_slice()), Place::Line(row)).unwrap();
            assert!(table.side.len() < SIDE_BYTES, "{row}");
        }
        assert_eq!(table.finish().rows, 1000);
    }
}
