//! Finds where a row begins in text that starts at an arbitrary position. Pure.
//!
//! Whether a byte is inside quotes depends on all quotes before it, but the text shows it within a few lines.
//! Both cases are assumed, inside and outside, and the text is read until one assumption is refuted by a
//! quote where none is allowed. In a well-formed file the other assumption is then proven.
//!
//! Invariant: a true assumption is never refuted.

use memchr::{memchr, memchr2};

/// The format of a file's rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) delimiter: u8,
    pub(super) fields: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// A row begins here.
    At(usize),
    /// More text may decide it.
    NotYet,
    /// It cannot be decided: both assumptions are refuted.
    Never,
}

impl Rules {
    /// Finds where in `text` a row begins. `enough` means that there is no more text.
    pub(super) fn row_begins(self, text: &[u8], enough: bool) -> Decision {
        if memchr(b'"', text).is_none() {
            let first = memchr2(b'\n', b'\r', text);
            return first.filter(|_| enough).map_or(Decision::NotYet, |end| Decision::At(end + 1));
        }
        let mut outside = Assumption::new(false);
        let mut inside = Assumption::new(true);
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
            // Both are possible. Prefer the one whose rows match the header; else outside, because most text
            // is unquoted.
            _ if inside.score > outside.score => inside,
            _ => outside,
        };
        held.first.map_or(Decision::NotYet, Decision::At)
    }
}

/// Text read under the assumption that it begins inside or outside quotes.
#[derive(Debug, Clone, Copy)]
struct Assumption {
    inside: bool,
    /// Whether a quote here would open a cell. Unknown for the first byte.
    may_open: bool,
    /// Whether a quote has just closed.
    closed: bool,
    refuted: bool,
    /// The position after the first line end.
    first: Option<usize>,
    cells: u32,
    /// Rows with as many cells as the header, minus the others.
    score: i64,
}

impl Assumption {
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
        // Outside: the quote opens a cell.
        check("1,a\n2,\"b\"\n", Decision::At(4));
        // Inside: the same quote closes a cell.
        check("x\ny\"\n3,c\n", Decision::At(5));
        check("x,\ny\",4\n\"a\nb\",3\n", Decision::At(8));
        // No quote: outside.
        check("1,a\n2,b\n", Decision::At(4));
        // Neither is refuted; rows have the right length only outside.
        check("\"\",\"\"\n\"\",\"\"\n\"\",\"\"\n", Decision::At(6));
        // Both are refuted.
        check("a\"b\nc \"d\" e\n", Decision::Never);
        check("no line end", Decision::NotYet);
    }

    proptest! {
        /// From any byte of any valid file, either the beginning of a row is found, or nothing.
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
                // Write every other row without quotes, if possible.
                let plain = row.concat().chars().all(char::is_alphabetic) && begins.len() % 2 == 0;
                text.extend_from_slice(if plain { row.join(",") } else { cells.join(",") }.as_bytes());
                text.push(b'\n');
            }
            begins.push(text.len());
            let at = cut.index(text.len());
            let (mut outside, mut inside) = (Assumption::new(false), Assumption::new(true));
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
