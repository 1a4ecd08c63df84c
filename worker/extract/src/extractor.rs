//! Chooses how a body is read: as HTML, XML or JSON, and in which encoding.

use std::io;
use std::time::Duration;

use encoding_rs::Encoding;
use select::{Each, Field, Preset};
use url::Url;
use wire::record::FieldValue;

use crate::charset;
use crate::error::{ExtractError, Rejected};
use crate::found::Deadline;
use crate::input::{Body, Input};
use crate::json::JsonJob;
use crate::links::Links;
use crate::page::{Markup, PageJob};
use crate::steps::Around;

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
}

impl Extracted {
    fn new(values: Vec<FieldValue>, encoding: &'static Encoding) -> Self {
        Self { values, charset: charset::name(encoding) }
    }
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
                values => return Ok(Extracted::new(values?, encoding)),
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
        Ok(Extracted::new(values, encoding))
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
