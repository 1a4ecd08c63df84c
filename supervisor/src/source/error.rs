//! Errors of reading targets.

use std::io;
use std::path::PathBuf;

use crate::nearest::listed;
use crate::shortage;

/// Why targets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An input cannot be opened.
    #[error("cannot open {}: {error}", path.display())]
    Open {
        /// The input.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// An input cannot be read to its end.
    #[error("cannot read {} at {unit} {number}: {error}", path.display())]
    Read {
        /// The input.
        path: PathBuf,
        /// The unit of `number`, such as lines.
        unit: &'static str,
        /// The position, from 1.
        number: u64,
        /// The system's error.
        error: io::Error,
    },
    /// The pages that a crawl knows cannot be read.
    #[error("cannot read the pages that the crawl knows: {error}")]
    Pages {
        /// The system's error.
        error: io::Error,
    },
    /// Reading around a cut of a file failed.
    #[error("cannot read {} at byte {at}: {error}", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// The position in bytes.
        at: u64,
        /// The system's error.
        error: io::Error,
    },
    /// No process can be started that reads a list.
    #[error("cannot start a process that reads {}: {error}", path.display())]
    NoReader {
        /// The list.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The process that reads a list says why it cannot, in the words of the other variants.
    #[error("{0}")]
    Told(String),
    /// The process that reads a list cannot go on.
    #[error("cannot read {} after input {given}: the process that reads it {why}", path.display())]
    Reader {
        /// The list.
        path: PathBuf,
        /// Inputs that were read before.
        given: u64,
        /// What happened to the process.
        why: String,
    },
    /// An input has changed since the run started.
    #[error("{}: {what}", path.display())]
    Changed {
        /// The input.
        path: PathBuf,
        /// What has changed.
        what: String,
    },
    /// A table does not have the column.
    #[error("{}: no column \"{column}\" in {place}; {}", path.display(), hint(names, nearest.as_deref()))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The part of the file that names the columns.
        place: &'static str,
        /// The requested column.
        column: String,
        /// The existing columns.
        names: Vec<String>,
        /// The most similar column.
        nearest: Option<String>,
    },
    /// A column of a table cannot be used.
    #[error("{}: column \"{column}\" {why}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What it contains, and what is needed.
        why: String,
    },
}

impl SourceError {
    /// Whether descriptors are short, which others will close.
    pub(crate) fn lacks_descriptors(&self) -> bool {
        match self {
            Self::Open { error, .. }
            | Self::Read { error, .. }
            | Self::Pages { error }
            | Self::Cut { error, .. }
            | Self::NoReader { error, .. } => shortage::is_meant(error),
            Self::Told(_)
            | Self::Reader { .. }
            | Self::Changed { .. }
            | Self::NoColumn { .. }
            | Self::Unfit { .. } => false,
        }
    }
}

/// Common delimiters other than the comma.
const OTHER_DELIMITERS: [char; 3] = [';', '\t', '|'];

/// Suggests what to do about a missing column: a delimiter, the nearest name, or all names.
pub(crate) fn hint(names: &[String], nearest: Option<&str>) -> String {
    let foreign = match names {
        [only] => only.chars().find(|letter| OTHER_DELIMITERS.contains(letter)),
        _ => None,
    };
    match (foreign, nearest, names) {
        (Some('\t'), ..) => {
            "it has a single column with tabs in its name; is --delimiter tab missing?".to_owned()
        }
        (Some(letter), ..) => {
            format!("it has a single column, {}; is --delimiter '{letter}' missing?", listed(names))
        }
        (None, Some(nearest), _) => format!("did you mean {nearest:?}?"),
        (None, None, []) => "it has no columns".to_owned(),
        (None, None, names) => format!("its columns are: {}", listed(names)),
    }
}
