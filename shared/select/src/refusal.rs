//! Why a flag was refused: what is wrong, where, and what to
//! write instead. The parsers of parts of a flag return a
//! [`Refusal`] with a byte offset; only the whole flag is counted in characters.

use std::fmt;

/// Minimum similarity of a misspelled name to the name that is suggested for it, from 0 to 1.
const SIMILARITY_MIN: f64 = 0.5;

/// Why a `--select`, `--each` or `--blocked-if` was refused: what is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SelectError {
    /// The flag: `--select`, `--each` or `--blocked-if`.
    pub option: &'static str,
    /// The value of the flag as written.
    pub flag: String,
    /// The position of the error in characters, from 1; after the end if something is missing there.
    pub position: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, flag, position, problem, fix } = self;
        write!(f, "{option} '{flag}': {problem}, at character {position}; {fix}")
    }
}

/// A refusal whose position is a byte offset into the flag.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) at: usize,
    pub(crate) problem: String,
    pub(crate) fix: String,
}

impl Refusal {
    pub(crate) fn new(at: usize, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { at, problem: problem.into(), fix: fix.into() }
    }

    /// The same refusal, in a longer text in which this text starts at byte `base`.
    pub(crate) fn shifted(self, base: usize) -> Self {
        Self { at: base + self.at, ..self }
    }

    pub(crate) fn in_flag(self, option: &'static str, flag: &str) -> SelectError {
        let position = flag.char_indices().take_while(|(at, _)| *at < self.at).count() + 1;
        SelectError { option, flag: flag.to_owned(), position, problem: self.problem, fix: self.fix }
    }
}

/// The name most similar to `word`, if one is similar enough.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&folded, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
