//! Where a value begins and ends in a text that may itself be quoted, and more than once.

/// Returns where a value without quotes ends: also at the quote around it, which may be escaped.
pub(super) fn unquoted(value: &str, is_end: impl Fn(char) -> bool) -> usize {
    let ends = value.find(|letter| is_end(letter) || is_quote(letter)).unwrap_or(value.len());
    value.get(..ends).map_or(ends, |value| value.trim_end_matches('\\').len())
}

/// A quote that begins a value. It is escaped if the text is itself quoted: `\"`, or `\\\"` if that is quoted too.
#[derive(Clone, Copy)]
pub(super) struct Quote {
    letter: char,
    backslashes: usize,
}

impl Quote {
    /// Removes a quote.
    pub(super) fn at(text: &str) -> Option<(Self, &str)> {
        let rest = text.trim_start_matches('\\');
        let letter = rest.chars().next().filter(|letter| is_quote(*letter))?;
        Some((Self { letter, backslashes: text.len() - rest.len() }, rest.strip_prefix(letter)?))
    }

    /// Returns where the value ends that begins behind this quote. A quote within it has more backslashes. If the
    /// value ends with backslashes, they are doubled as often as it is quoted. A quote that a letter follows does not
    /// end the value. It may begin the value, if this quote belongs to other text.
    pub(super) fn end(self, value: &str) -> usize {
        let mut before = 0;
        for (at, letter) in value.char_indices() {
            if letter == self.letter
                && before % (2 * (self.backslashes + 1)) <= self.backslashes
                && is_end(value.get(at + 1..).unwrap_or_default())
            {
                return at - before.min(self.backslashes);
            }
            before = if letter == '\\' { before + 1 } else { 0 };
        }
        value.len()
    }
}

/// Whether a quoted value may end before `rest`: at a bracket, a space or another quote, with a comma or such before it.
fn is_end(rest: &str) -> bool {
    let rest = rest.strip_prefix([',', ';', ':', '.', '&']).unwrap_or(rest);
    let ends = |letter: char| letter.is_whitespace() || is_quote(letter) || "\\()[]{}<>".contains(letter);
    rest.chars().next().is_none_or(ends)
}

const fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '`')
}
