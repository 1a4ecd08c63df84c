//! Takes the fields of a job out of a page.
//!
//! Between fetching (which gives bytes) and the record (which wants strings):
//! decide the charset, find what the selectors name, resolve links. Nothing here
//! panics on any input, and nothing here waits.

mod charset;
mod dom;
mod found;
mod input;
mod links;
#[cfg(test)]
mod same;
#[cfg(test)]
mod soup;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use shared::record::{ErrorKind, FieldValue};
use shared::select::Field;
use url::Url;

use dom::Dom;
use found::{Deadline, Found};
pub use input::Body;
use input::Input;
use stream::{Stream, Streamed};

/// What is known of a page besides its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The charset label of the `Content-Type` header.
    pub content_type_charset: Option<&'a str>,
    /// Where the page was fetched from; a saved file has none, and its links stay
    /// as written unless it names an absolute `<base href>`.
    pub url: Option<&'a Url>,
    /// CPU time the extraction may take.
    pub parse_timeout: Duration,
}

/// The fields of one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// One value for each field, in the job's order.
    pub values: Vec<FieldValue>,
    /// The encoding the text was decoded from, by its WHATWG name in lower case.
    pub charset: &'static str,
    /// Bytes of the body that were read; less than all of it when the fields
    /// were answered early.
    pub bytes_read: u64,
}

/// Why a page gave no fields.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The body could not be read.
    #[error("cannot read the page: {0}")]
    Read(#[from] io::Error),
    /// Parsing took longer than it may.
    #[error("parsing took more than {limit:?} of CPU time and was stopped; deep nesting does this")]
    Deadline {
        /// The job's limit.
        limit: Duration,
    },
    /// The fields have grown out of all proportion.
    #[error("the fields came to more than {limit_bytes} bytes; do they select nested elements?")]
    TooMuch {
        /// The limit.
        limit_bytes: usize,
    },
}

impl ExtractError {
    /// The kind written into the record.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Parse
    }
}

/// A selector that the CSS engine does not accept; `shared::select` lets none through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a CSS selector: {selector}")]
pub struct SelectorRejected {
    /// The selector.
    pub selector: String,
}

/// Extracts a job's fields from one page after another.
pub struct Extractor {
    fields: Vec<Field>,
    dom: Dom,
    /// Present when every selector can be matched while streaming.
    stream: Option<Stream>,
}

impl Extractor {
    /// Compiles a job's selectors.
    ///
    /// # Errors
    /// When a selector is not CSS.
    pub fn new(fields: &[Field]) -> Result<Self, SelectorRejected> {
        Ok(Self { fields: fields.to_vec(), dom: Dom::new(fields)?, stream: Stream::new(fields) })
    }

    /// Extracts the fields of one page.
    ///
    /// # Errors
    /// When the body cannot be read or parsing passes a limit.
    pub fn extract(&self, page: Page<'_>, body: &mut dyn Body) -> Result<Extracted, ExtractError> {
        let deadline = Deadline::after(page.parse_timeout);
        let mut input = Input::new(body);
        let encoding = charset::sniff(&mut input, page.content_type_charset)?;
        let mut found = Found::new(self.fields.len());
        if !self.fields.is_empty() {
            let streamed = match &self.stream {
                Some(stream) => stream.run(&self.fields, &mut input, encoding, &deadline, &mut found)?,
                None => Streamed::NeedsTree,
            };
            if streamed == Streamed::NeedsTree {
                if self.stream.is_some() {
                    input.rewind()?;
                    found.clear();
                }
                self.dom.run(&mut input, encoding, &deadline, &mut found)?;
            }
        }
        Ok(Extracted {
            values: found.finish(&self.fields, page.url),
            charset: charset::name(encoding),
            bytes_read: input.bytes_read(),
        })
    }
}
