//! Why a flag of the selection was refused: what is wrong, where, and what to
//! write instead. Everything that parses a part of a flag answers with a
//! [`Refusal`] in bytes; only the flag as a whole knows characters.

use std::fmt;

/// Furthest a spelling may be from a name and still be taken for it, as a share of the longer one.
const SIMILARITY_MIN: f64 = 0.5;

/// Why a `--select` or `--each` was refused: what is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SelectError {
    /// Which flag it is: `--select` or `--each`.
    pub option: &'static str,
    /// The flag's value as it was given.
    pub flag: String,
    /// Where in the flag, in characters from 1; past its end when something is missing there.
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

/// A refusal while its place is still a byte offset into the flag.
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

    /// The same refusal, of a text that starts at byte `base` of a longer one.
    pub(crate) fn shifted(self, base: usize) -> Self {
        Self { at: base + self.at, ..self }
    }

    pub(crate) fn in_flag(self, option: &'static str, flag: &str) -> SelectError {
        let position = flag.char_indices().take_while(|(at, _)| *at < self.at).count() + 1;
        SelectError { option, flag: flag.to_owned(), position, problem: self.problem, fix: self.fix }
    }
}

/// The name closest to `word`, if one is close.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&folded, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
