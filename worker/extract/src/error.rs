//! Why a job cannot be compiled, and why a page has no fields.

use std::io;
use std::time::Duration;

use select::jsonpath::JsonPathError;
use wire::json::JsonError;
use wire::record::ErrorKind;

/// Why a page gave no fields.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The body could not be read.
    #[error("cannot read the page: {0}")]
    Read(#[from] io::Error),
    /// Extraction took longer than the job allows.
    #[error("parsing took more than {limit:?} of CPU time and was stopped; deep nesting does this")]
    Deadline {
        /// The job's limit.
        limit: Duration,
    },
    /// The values of the fields are too large.
    #[error("the fields came to more than {limit_bytes} bytes; do they select nested elements?")]
    TooMuch {
        /// The limit.
        limit_bytes: usize,
    },
    /// An expression holds too many nodes at once.
    #[error("a selector found more than {limit} nodes on its way; make it narrower")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The body is not well-formed XML.
    #[error("not well-formed XML, line {line}: {why}")]
    Xml {
        /// The line of the error, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// The body is not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] JsonError),
}

impl ExtractError {
    /// Returns the error kind for the record.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Parse
    }
}

/// Why a job cannot be compiled. The crate `select` checks fields when it parses them,
/// so a field that it returned is rejected only if the two processes were built with different features.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The selector is not valid CSS.
    #[error("not a CSS selector: {0}")]
    Css(String),
    /// The selector is not valid JSONPath.
    #[error("not JSONPath: {0}: {1}")]
    JsonPath(String, JsonPathError),
    /// The selector is not valid XPath.
    #[cfg(feature = "xpath")]
    #[error("not XPath: {0}: {1}")]
    XPath(String, select::xpath::XPathError),
    /// The selector is XPath, which this build does not support.
    #[cfg(not(feature = "xpath"))]
    #[error("this worker was built without XPath")]
    NoXPath,
    /// The pattern of a step is not a valid regular expression.
    #[error(transparent)]
    Regex(#[from] regex::Error),
}
