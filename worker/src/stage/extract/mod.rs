//! Takes the fields of a job out of a page.
//!
//! Between fetching (which gives bytes) and the record (which wants values):
//! decide whether it is HTML or JSON and in which charset, find what the selectors
//! name, resolve links, run the steps. Nothing here panics on any input, and
//! nothing here waits.

mod charset;
mod document;
mod dom;
mod each;
mod facts;
mod found;
mod input;
mod json;
mod jsonpath;
mod links;
mod markup;
mod microdata;
mod page;
mod pick;
mod presets;
#[cfg(test)]
mod same;
mod select;
#[cfg(test)]
mod soup;
mod steps;
mod stream;
#[cfg(test)]
mod tests;
mod xml;
#[cfg(feature = "xpath")]
mod xpath;

use std::io;
use std::time::Duration;

use encoding_rs::Encoding;
use shared::json::JsonError;
use shared::record::{ErrorKind, FieldValue};
use shared::select::jsonpath::JsonPathError;
use shared::select::{Each, Field, Preset};
use url::Url;

use document::Document;
use found::Deadline;
pub use input::Body;
use input::Input;
use json::JsonJob;
use links::Links;
use page::{Markup, PageJob};
use steps::Around;
#[cfg(feature = "xpath")]
use xpath::Nodes;

/// What a body is, as far as its content type or its file's name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON of whatever kind.
    Json,
    /// HTML, or what is treated as such.
    Html,
    /// XML of whatever kind: a feed, XHTML.
    Xml,
    /// Nobody said.
    Unknown,
}

impl Kind {
    /// What a `Content-Type` header says.
    #[must_use]
    pub fn of_content_type(header: Option<&str>) -> Self {
        let Some(header) = header else { return Self::Unknown };
        let essence = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" => Self::Unknown,
            "application/json" | "text/json" => Self::Json,
            other if other.ends_with("+json") => Self::Json,
            "application/xml" | "text/xml" => Self::Xml,
            other if other.ends_with("+xml") => Self::Xml,
            _ => Self::Html,
        }
    }

    /// What the extension of a file says.
    #[must_use]
    pub fn of_extension(extension: Option<&str>) -> Self {
        match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
            "json" | "jsonld" | "geojson" => Self::Json,
            "html" | "htm" => Self::Html,
            "xml" | "rss" | "atom" | "rdf" | "xhtml" | "xht" | "svg" => Self::Xml,
            _ => Self::Unknown,
        }
    }
}

/// What is known of a page besides its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// What it is written in.
    pub kind: Kind,
    /// The charset label of the `Content-Type` header.
    pub content_type_charset: Option<&'a str>,
    /// Where the page was fetched from; a saved file has none, and its links stay
    /// as written unless it names an absolute `<base href>`.
    pub url: Option<&'a Url>,
    /// CPU time the extraction may take.
    pub parse_timeout: Duration,
}

/// The fields of one page.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// One value for each field, in the job's order.
    pub values: Vec<FieldValue>,
    /// The encoding the text was decoded from, by its WHATWG name in lower case.
    pub charset: &'static str,
    /// Bytes of the body that were read; less than all of it when the fields
    /// were answered early.
    pub bytes_read: u64,
}

impl Extracted {
    fn new(values: Vec<FieldValue>, encoding: &'static Encoding, input: &Input<'_>) -> Self {
        Self { values, charset: charset::name(encoding), bytes_read: input.bytes_read() }
    }
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
    /// A query holds more nodes than anybody needs.
    #[error("a selector found more than {limit} nodes on its way; make it narrower")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A body that should be XML is not.
    #[error("not well-formed XML, line {line}: {why}")]
    Xml {
        /// Where, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// A body that should be JSON is not.
    #[error("not JSON: {0}")]
    Json(#[from] JsonError),
}

impl ExtractError {
    /// The kind written into the record.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Parse
    }
}

/// A selector that its engine does not accept; `shared::select` lets none through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a CSS selector: {selector}")]
pub struct SelectorRejected {
    /// The selector.
    pub selector: String,
}

/// A job that this build cannot do; `shared::select` lets none through.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// A selector is not CSS.
    #[error(transparent)]
    Css(#[from] SelectorRejected),
    /// A selector is not JSONPath.
    #[error("not JSONPath: {0}: {1}")]
    JsonPath(String, JsonPathError),
    /// A selector is not XPath.
    #[cfg(feature = "xpath")]
    #[error("not XPath: {0}: {1}")]
    XPath(String, shared::select::xpath::XPathError),
    /// A selector is XPath.
    #[cfg(not(feature = "xpath"))]
    #[error("this worker was built without XPath")]
    NoXPath,
    /// A step is no regular expression.
    #[error(transparent)]
    Regex(#[from] regex::Error),
}

/// A page's tree, and its nodes as XPath sees them, if any of the job is XPath.
struct Tree<'p> {
    page: &'p Document,
    #[cfg(feature = "xpath")]
    nodes: Option<Nodes<'p>>,
}

/// Extracts a job's fields from one page after another.
pub struct Extractor {
    html: PageJob,
    json: JsonJob,
    is_empty: bool,
}

impl Extractor {
    /// Compiles a job's selectors.
    ///
    /// # Errors
    /// When one of them is not what it should be.
    pub fn new(fields: &[Field], each: Option<&Each>, presets: &[Preset]) -> Result<Self, Rejected> {
        Ok(Self {
            html: PageJob::new(fields, each, presets)?,
            json: JsonJob::new(fields, each, presets)?,
            is_empty: fields.is_empty() && presets.is_empty(),
        })
    }

    /// Extracts the fields of one page.
    ///
    /// # Errors
    /// When the body cannot be read, should be JSON and is not, or passes a limit.
    pub fn extract(&self, page: Page<'_>, body: &mut dyn Body) -> Result<Extracted, ExtractError> {
        let deadline = Deadline::after(page.parse_timeout);
        let mut input = Input::new(body);
        if self.tries_json(page.kind, &mut input)? {
            let encoding = charset::of_json(&mut input, page.content_type_charset)?;
            // The queries of links are in the encoding of a page, and this is none.
            let links = Links::new(page.url, None, encoding_rs::UTF_8);
            let around = Around { links: &links, deadline: &deadline };
            match self.json.run(&mut input, encoding, around) {
                // What was sent as a page may be one, however it begins.
                Err(ExtractError::Json(_)) if page.kind == Kind::Html && self.html.reads() => {
                    input.start_over()?;
                }
                values => return Ok(Extracted::new(values?, encoding, &input)),
            }
        }
        let markup = match page.kind {
            Kind::Xml => Markup::Xml(charset::of_xml(&mut input, page.content_type_charset)?),
            Kind::Json | Kind::Html | Kind::Unknown => {
                Markup::Html(charset::sniff(&mut input, page.content_type_charset)?)
            }
        };
        let (values, encoding) = if self.is_empty {
            (Vec::new(), markup.encoding())
        } else {
            self.html.run(&mut input, markup, page.url, &deadline)?
        };
        Ok(Extracted::new(values, encoding, &input))
    }

    /// Whether a body is read as JSON: because it is said to be that, or because it begins like it.
    fn tries_json(&self, kind: Kind, input: &mut Input<'_>) -> io::Result<bool> {
        match kind {
            _ if self.is_empty => Ok(false),
            Kind::Json => Ok(true),
            Kind::Html | Kind::Xml => Ok(self.json.has_paths() && looks_like_json(input)?),
            Kind::Unknown => Ok(self.json.reads() && looks_like_json(input)?),
        }
    }
}

/// Whether a body begins as JSON and no page does: with a bracket, after a byte order mark and white space.
fn looks_like_json(input: &mut Input<'_>) -> io::Result<bool> {
    let mut ahead_bytes = 256;
    loop {
        let ahead = input.peek(ahead_bytes)?;
        let is_all = ahead.len() < ahead_bytes;
        let text = ahead.get(Encoding::for_bom(ahead).map_or(0, |(_, bytes)| bytes)..).unwrap_or_default();
        // In UTF-16 the other half of each character is zero.
        match text.iter().find(|byte| !byte.is_ascii_whitespace() && **byte != 0) {
            Some(first) => return Ok(matches!(first, b'{' | b'[')),
            None if is_all => return Ok(false),
            None => ahead_bytes *= 4,
        }
    }
}
