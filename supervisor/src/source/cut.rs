//! Where a row begins in text that begins anywhere. Pure.
//!
//! Whether a byte is inside quotes depends on all quotes before it; but text says so itself within a few lines.
//! Both are supposed, inside and outside, and the text is followed until one of them is refuted by a quote that
//! stands where none may. In a file that keeps to the rules the other one is then true, and nothing was guessed.
//!
//! Invariant: a supposition that is true is never refuted.

use memchr::{memchr, memchr2};

/// What the rows of a file look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) delimiter: u8,
    pub(super) fields: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// A row begins here.
    At(usize),
    /// More text might tell.
    NotYet,
    /// It cannot be told: neither supposition holds.
    Never,
}

impl Rules {
    /// Where in `text` a row begins. With `enough` there will be no more of it.
    pub(super) fn row_begins(self, text: &[u8], enough: bool) -> Decision {
        if memchr(b'"', text).is_none() {
            let first = memchr2(b'\n', b'\r', text);
            return first.filter(|_| enough).map_or(Decision::NotYet, |end| Decision::At(end + 1));
        }
        let mut outside = Supposition::new(false);
        let mut inside = Supposition::new(true);
        for (at, byte) in text.iter().enumerate() {
            outside.step(self, at, *byte);
            inside.step(self, at, *byte);
            match (outside.refuted, inside.refuted) {
                (true, true) => return Decision::Never,
                (false, true) if outside.first.is_some() => break,
                (true, false) if inside.first.is_some() => break,
                _ => {}
            }
        }
        let held = match (outside.refuted, inside.refuted) {
            (false, true) => outside,
            (true, false) => inside,
            _ if !enough => return Decision::NotYet,
            // Both hold. The one under which rows are as long as the header; else, quotes are rarer than none.
            _ if inside.score > outside.score => inside,
            _ => outside,
        };
        held.first.map_or(Decision::NotYet, Decision::At)
    }
}

/// Text, read as if it began inside of quotes, or outside.
#[derive(Debug, Clone, Copy)]
struct Supposition {
    inside: bool,
    /// A quote here would open a cell. Of the first byte that is not known.
    may_open: bool,
    /// A quote has just closed.
    closed: bool,
    refuted: bool,
    /// After the first line end.
    first: Option<usize>,
    cells: u32,
    /// Rows that have as many cells as the header, less those that have not.
    score: i64,
}

impl Supposition {
    const fn new(inside: bool) -> Self {
        Self { inside, may_open: true, closed: false, refuted: false, first: None, cells: 1, score: 0 }
    }

    fn step(&mut self, rules: Rules, at: usize, byte: u8) {
        if self.inside {
            self.closed = byte == b'"';
            self.inside = !self.closed;
            self.may_open = false;
        } else if byte == b'"' {
            self.refuted |= !(self.closed || self.may_open);
            self.inside = true;
        } else if byte == rules.delimiter {
            (self.closed, self.may_open) = (false, true);
            self.cells = self.cells.saturating_add(1);
        } else if matches!(byte, b'\n' | b'\r') {
            (self.closed, self.may_open) = (false, true);
            self.row_ended(rules, at);
        } else {
            self.refuted |= self.closed;
            (self.closed, self.may_open) = (false, false);
        }
    }

    fn row_ended(&mut self, rules: Rules, at: usize) {
        if self.first.is_none() {
            self.first = Some(at + 1);
        } else if self.cells == rules.fields {
            self.score += 1;
        } else if self.cells > 1 {
            self.score -= 1;
        }
        self.cells = 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(fields: u32) -> Rules {
        Rules { delimiter: b',', fields }
    }

    #[test]
    fn text_says_itself_whether_it_is_inside_quotes() {
        let check = |text: &str, want: Decision| {
            assert_eq!(rules(2).row_begins(text.as_bytes(), true), want, "{text:?}");
        };
        // Outside: the quote in it opens a cell.
        check("1,a\n2,\"b\"\n", Decision::At(4));
        // Inside: the same quote closes one.
        check("x\ny\"\n3,c\n", Decision::At(5));
        check("x,\ny\",4\n\"a\nb\",3\n", Decision::At(8));
        // No quote at all: outside.
        check("1,a\n2,b\n", Decision::At(4));
        // Nothing refutes either; rows are of the right length only outside.
        check("\"\",\"\"\n\"\",\"\"\n\"\",\"\"\n", Decision::At(6));
        // Neither can be.
        check("a\"b\nc \"d\" e\n", Decision::Never);
        check("no line end", Decision::NotYet);
    }

    proptest! {
        /// From any byte of any valid file: what is found is a row's beginning, or nothing is.
        #[test]
        fn what_is_decided_is_true(
            rows in proptest::collection::vec(
                proptest::collection::vec("([a-z]{0,6}|[a-z,\"\r\n]{1,12})", 3..=3),
                6..30,
            ),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut text = Vec::new();
            let mut begins = Vec::new();
            for row in &rows {
                begins.push(text.len());
                let cells: Vec<String> = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
                // Every other row without quotes where that can be.
                let plain = row.concat().chars().all(char::is_alphabetic) && begins.len() % 2 == 0;
                text.extend_from_slice(if plain { row.join(",") } else { cells.join(",") }.as_bytes());
                text.push(b'\n');
            }
            begins.push(text.len());
            let at = cut.index(text.len());
            let (mut outside, mut inside) = (Supposition::new(false), Supposition::new(true));
            for (n, byte) in text[at..].iter().enumerate() {
                outside.step(rules(3), n, *byte);
                inside.step(rules(3), n, *byte);
            }
            // A refutation is a proof.
            let truly_inside = text[..at].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            let true_one = if truly_inside { inside } else { outside };
            prop_assert!(!true_one.refuted);
            if outside.refuted != inside.refuted
                && let Decision::At(found) = rules(3).row_begins(&text[at..], true)
            {
                prop_assert!(begins.contains(&(at + found)), "{} of {:?}", at + found, begins);
            }
        }
    }
}
