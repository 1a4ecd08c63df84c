//! Finds the ends of cells and rows, 64 bytes at a time, and checks that every quote follows RFC 4180.
//!
//! A byte is inside quotes if an odd number of quotes precedes it. That is true while every quote opens a cell,
//! closes one, or is doubled inside one. The same masks check this; the first other quote is an error, not a
//! guess. The masks are those of G. Langdale and D. Lemire, "Parsing Gigabytes of JSON per Second", 2019. The
//! prefix XOR does not use carry-less multiplication, which older CPUs lack.

use shared::csv::StrayKind;
use wide::u8x16;

/// Bytes per block: as many as a mask has bits.
const BLOCK: usize = 64;

/// Initial space for cells. A row of a hundred bytes has about eight.
const ENDS_AT_FIRST: usize = 16 * 1024;

/// Ends of the cells and rows in a piece of text.
#[derive(Debug)]
pub(super) struct Scanner {
    delimiter: u8,
    /// Position of the delimiter or line end after each cell, then unused space.
    ends: Vec<u32>,
    /// Number of ends in use.
    count: usize,
    /// For each row, the number of `ends` up to its last cell.
    pub(super) rows: Vec<u32>,
}

/// A quote where RFC 4180 allows none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StrayAt {
    pub(super) at: usize,
    pub(super) kind: StrayKind,
}

/// The features of one block, one bit per byte.
#[derive(Debug, Clone, Copy)]
struct Masks {
    quotes: u64,
    delimiters: u64,
    line_ends: u64,
}

/// What the end of a block says about the next byte.
#[derive(Debug, Clone, Copy)]
struct Carry {
    /// All ones if the byte is inside quotes.
    inside: u64,
    /// 1 if a quote at this byte opens a cell or doubles a closing quote.
    may_open: u64,
    /// 1 if the byte follows a closing quote.
    closed: u64,
}

impl Scanner {
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, ends: Vec::new(), count: 0, rows: Vec::new() }
    }

    /// Returns the position of the delimiter or line end after each cell.
    pub(super) fn ends(&self) -> &[u32] {
        self.ends.get(..self.count).unwrap_or_default()
    }

    /// Scans `text`, which starts at a row. Returns the length of its whole rows. With `last`, the text ends here,
    /// so the text after the last line end is a row too.
    pub(super) fn scan(&mut self, text: &[u8], last: bool) -> Result<usize, StrayAt> {
        self.count = 0;
        self.rows.clear();
        let mut carry = Carry { inside: 0, may_open: 1, closed: 0 };
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        let mut base = 0_u32;
        for block in blocks {
            carry = self.block(block, base, u64::MAX, carry)?;
            base += BLOCK as u32;
        }
        if !rest.is_empty() {
            let mut block = [0; BLOCK];
            for (to, from) in block.iter_mut().zip(rest) {
                *to = *from;
            }
            let valid = (1 << rest.len()) - 1;
            carry = self.block(&block, base, valid, carry)?;
            // The bits after the text are not quotes, so this is the state at its end.
        }
        let whole = self.whole();
        if last && whole < text.len() {
            if carry.inside != 0 {
                return Err(StrayAt { at: whole, kind: StrayKind::Open });
            }
            self.note(1, 1, u32::try_from(text.len()).unwrap_or(u32::MAX));
            return Ok(text.len());
        }
        Ok(whole)
    }

    /// Returns the end of the last whole row.
    fn whole(&self) -> usize {
        let last = self.rows.last().and_then(|count| self.ends().get(*count as usize - 1));
        last.map_or(0, |end| *end as usize + 1)
    }

    #[inline(always)]
    fn block(&mut self, block: &[u8; BLOCK], base: u32, valid: u64, carry: Carry) -> Result<Carry, StrayAt> {
        let Masks { quotes, delimiters, line_ends } = self.masks(block);
        let (quotes, delimiters, line_ends) = (quotes & valid, delimiters & valid, line_ends & valid);
        // Bit n: byte n is inside quotes or is an opening quote.
        let inside = if quotes == 0 { carry.inside } else { prefix_xor(quotes) ^ carry.inside };
        let structural = (delimiters | line_ends) & !inside;
        let mut next = Carry {
            inside: ((inside.cast_signed()) >> 63).cast_unsigned(),
            may_open: structural >> 63,
            closed: 0,
        };
        if quotes | carry.closed != 0 {
            let (opening, closing) = (quotes & inside, quotes & !inside);
            // A closing quote is followed by a delimiter, a line end, or a quote that doubles it.
            let closed = (closing << 1) | carry.closed;
            let wrong_close = closed & !(delimiters | line_ends | quotes) & valid;
            // An opening quote is preceded by the same.
            let may_open = ((structural | closing) << 1) | carry.may_open;
            let wrong_open = opening & !may_open;
            if wrong_close | wrong_open != 0 {
                return Err(stray(wrong_open, wrong_close, base));
            }
            next.closed = closing >> 63;
            next.may_open |= closing >> 63;
        }
        self.note(structural, line_ends & !inside, base);
        Ok(next)
    }

    #[inline(always)]
    fn note(&mut self, structural: u64, line_ends: u64, base: u32) {
        let before = self.count as u32;
        if self.ends.len() < self.count + BLOCK {
            self.make_room();
        }
        if let Some(room) = self.ends.get_mut(self.count..self.count + BLOCK) {
            spread(structural, base, room);
        }
        let found = structural.count_ones();
        self.count += found as usize;
        let mut bits = line_ends;
        while bits != 0 {
            let lowest = bits & bits.wrapping_neg();
            let upto = structural & (lowest | (lowest - 1));
            self.rows.push(before + upto.count_ones());
            bits ^= lowest;
        }
    }

    #[cold]
    fn make_room(&mut self) {
        self.ends.resize((self.ends.len() * 2).max(ENDS_AT_FIRST), 0);
    }

    #[inline(always)]
    fn masks(&self, block: &[u8; BLOCK]) -> Masks {
        let (parts, _) = block.as_chunks::<16>();
        let mut masks = Masks { quotes: 0, delimiters: 0, line_ends: 0 };
        for (n, part) in parts.iter().enumerate() {
            let part = u8x16::new(*part);
            let bits = |byte: u8| u64::from(part.simd_eq(u8x16::splat(byte)).to_bitmask());
            let either = part.simd_eq(u8x16::splat(b'\n')) | part.simd_eq(u8x16::splat(b'\r'));
            masks.quotes |= bits(b'"') << (16 * n);
            masks.delimiters |= bits(self.delimiter) << (16 * n);
            masks.line_ends |= u64::from(either.to_bitmask()) << (16 * n);
        }
        masks
    }
}

/// Appends the positions of the bits. It always writes eight at a time. The next block overwrites the surplus,
/// which costs less than a mispredicted branch.
#[inline(always)]
fn spread(mut bits: u64, base: u32, room: &mut [u32]) {
    for eight in room.as_chunks_mut::<8>().0 {
        for end in eight {
            *end = base.wrapping_add(bits.trailing_zeros());
            bits &= bits.wrapping_sub(1);
        }
        if bits == 0 {
            break;
        }
    }
}

/// Sets bit n to the parity of bits 0 to n.
#[inline(always)]
const fn prefix_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

#[cold]
fn stray(wrong_open: u64, wrong_close: u64, base: u32) -> StrayAt {
    let (open, close) = (wrong_open.trailing_zeros(), wrong_close.trailing_zeros());
    let kind = if open < close { StrayKind::Inside } else { StrayKind::After };
    StrayAt { at: base as usize + open.min(close) as usize, kind }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the rows that csv-core reads, unquoted.
    fn oracle(text: &[u8]) -> Vec<Row> {
        let mut reader = csv_core::ReaderBuilder::new().build();
        let (mut rows, mut row, mut cell, mut at) = (Vec::new(), Vec::new(), Vec::new(), 0);
        loop {
            let mut out = [0; 32];
            let (result, read, written) = reader.read_field(&text[at..], &mut out);
            at += read;
            cell.extend_from_slice(&out[..written]);
            match result {
                csv_core::ReadFieldResult::InputEmpty | csv_core::ReadFieldResult::OutputFull => {}
                csv_core::ReadFieldResult::Field { record_end } => {
                    row.push(std::mem::take(&mut cell));
                    if record_end {
                        rows.push(std::mem::take(&mut row));
                    }
                }
                csv_core::ReadFieldResult::End => return rows,
            }
        }
    }

    fn unquoted(cell: &[u8]) -> Vec<u8> {
        match cell {
            [b'"', inner @ .., b'"'] => String::from_utf8_lossy(inner).replace("\"\"", "\"").into_bytes(),
            cell => cell.to_vec(),
        }
    }

    type Row = Vec<Vec<u8>>;

    fn rows(text: &[u8], last: bool) -> Result<(Vec<Row>, usize), StrayAt> {
        let mut scanner = Scanner::new(b',');
        let used = scanner.scan(text, last)?;
        let (mut rows, mut start, mut first) = (Vec::new(), 0, 0);
        for &upto in &scanner.rows {
            let ends = &scanner.ends()[first..upto as usize];
            first = upto as usize;
            let row: Row = ends
                .iter()
                .map(|&end| {
                    let cell = unquoted(&text[start..end as usize]);
                    start = end as usize + 1;
                    cell
                })
                .collect();
            let is_blank = row.len() == 1 && ends[0] as usize + 1 - start == 0 && row[0].is_empty();
            if !(is_blank && text.get(start.saturating_sub(2)) != Some(&b'"')) {
                rows.push(row);
            }
        }
        Ok((rows, used))
    }

    fn check(text: &str, want: Result<usize, (usize, StrayKind)>) {
        let got = rows(text.as_bytes(), true);
        assert_eq!(
            got.as_ref().map(|(rows, _)| rows.len()).map_err(|stray| (stray.at, stray.kind)),
            want,
            "{text:?}"
        );
    }

    #[test]
    fn rows_and_stray_quotes_are_found() {
        check("", Ok(0));
        check("a,b\nc,d", Ok(2));
        check("a,b\r\n\r\nc,d\r\n", Ok(2));
        check("a,b\rc,d\r", Ok(2));
        check("\"a\nb\",\"c\"\"\n\"\"\"\n", Ok(1));
        check("\"\",\"\"\n", Ok(1));
        check("a\"b,c\n", Err((1, StrayKind::Inside)));
        check("\"a\"b,c\n", Err((3, StrayKind::After)));
        check("a, \"b\"\n", Err((3, StrayKind::Inside)));
        check("x\n\"a,b\n", Err((2, StrayKind::Open)));
        for before in [60, 61, 62, 63, 64, 65, 127, 128] {
            let fill = "x".repeat(before);
            check(&format!("{fill},\"a\"\n"), Ok(1));
            check(&format!("{fill}\"a\"\n"), Err((before, StrayKind::Inside)));
            check(&format!("\"{fill}\"\"{fill}\"y\n"), Err((2 * before + 4, StrayKind::After)));
            check(&format!("\"{fill}\",\n\"{fill}"), Err((before + 4, StrayKind::Open)));
        }
    }

    #[test]
    fn only_the_last_row_may_lack_a_line_end() {
        assert_eq!(rows(b"a\nb", false).unwrap().1, 2);
        assert_eq!(rows(b"a\n\"b\n\"", false).unwrap().1, 2);
        assert_eq!(rows(b"a\n\"b\"", false).unwrap().1, 2);
    }

    proptest! {
        #[test]
        fn valid_rows_are_read_like_csv_core(
            rows_in in proptest::collection::vec(
                proptest::collection::vec("([a-z]{0,9}|[a-z,\"\r\n ]{0,70})", 2..5),
                0..12,
            ),
            end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
            final_end in any::<bool>(),
        ) {
            let mut text = String::new();
            for row in &rows_in {
                let cells: Vec<String> = row
                    .iter()
                    .map(|cell| {
                        let plain = !cell.contains([',', '"', '\r', '\n']);
                        if plain { cell.clone() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
                    })
                    .collect();
                text.push_str(&cells.join(","));
                text.push_str(end);
            }
            if !final_end {
                text.truncate(text.len().saturating_sub(end.len()));
            }
            let (got, used) = rows(text.as_bytes(), true).unwrap();
            prop_assert_eq!(used, text.len());
            prop_assert_eq!(got, oracle(text.as_bytes()));
        }

        #[test]
        fn other_text_is_an_error_or_read_like_csv_core(text in "[ab,\"\n]{0,90}") {
            if let Ok((got, _)) = rows(text.as_bytes(), true) {
                prop_assert_eq!(got, oracle(text.as_bytes()));
            }
        }
    }
}
