//! Why targets cannot be read, in words for the user.

use std::io;
use std::path::PathBuf;

use crate::nearest::listed;

/// Why targets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An input cannot be opened.
    #[error("cannot open {}: {error}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// An input cannot be read to its end.
    #[error("cannot read {} at {unit} {number}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What is counted in it.
        unit: &'static str,
        /// Where, from 1.
        number: u64,
        /// Why.
        error: io::Error,
    },
    /// A place to cut a file cannot be looked for.
    #[error("cannot read {} at byte {at}: {error}", path.display())]
    Cut {
        /// Which.
        path: PathBuf,
        /// Where.
        at: u64,
        /// Why.
        error: io::Error,
    },
    /// An input is not what it was when the run began.
    #[error("{}: {what}", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
        /// In which way.
        what: String,
    },
    /// A table has no such column.
    #[error("{}: no column \"{column}\" in {place}; {}", path.display(), hint(names, nearest.as_deref()))]
    NoColumn {
        /// Which file.
        path: PathBuf,
        /// Where its columns are named.
        place: &'static str,
        /// What was asked for.
        column: String,
        /// The columns there are.
        names: Vec<String>,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// A column of a table cannot be used as it was to be.
    #[error("{}: column \"{column}\" {why}", path.display())]
    Unfit {
        /// Which file.
        path: PathBuf,
        /// Which column.
        column: String,
        /// What it holds, and what was needed.
        why: String,
    },
}

/// What stands between cells where commas do not.
const OTHER_DELIMITERS: [char; 3] = [';', '\t', '|'];

/// What a table without a column may have meant: the nearest name, or all of them.
pub(crate) fn hint(names: &[String], nearest: Option<&str>) -> String {
    let foreign = match names {
        [only] => only.chars().find(|letter| OTHER_DELIMITERS.contains(letter)),
        _ => None,
    };
    match (foreign, nearest, names) {
        (Some('\t'), ..) => "it has one, with tabs in its name; is --delimiter tab missing?".to_owned(),
        (Some(letter), ..) => {
            format!("it has one, {}; is --delimiter '{letter}' missing?", listed(names))
        }
        (None, Some(nearest), _) => format!("did you mean {nearest:?}?"),
        (None, None, []) => "it is empty".to_owned(),
        (None, None, names) => format!("it has: {}", listed(names)),
    }
}
