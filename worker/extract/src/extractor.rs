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

/// The language of a body, as stated by its content type or its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON, or a format based on it.
    Json,
    /// HTML, or anything that is read as HTML.
    Html,
    /// XML, such as a feed or XHTML.
    Xml,
    /// Not stated.
    Unknown,
}

impl Kind {
    /// Returns the kind that a `Content-Type` header states.
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

    /// Returns the kind that a file name's extension states.
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

/// What is known about a page besides its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The language of the body.
    pub kind: Kind,
    /// The charset label of the `Content-Type` header.
    pub content_type_charset: Option<&'a str>,
    /// The URL of the page. A saved file has none, and its links stay as written
    /// unless it has an absolute `<base href>`.
    pub url: Option<&'a Url>,
    /// Maximum CPU time of the extraction.
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

/// Extracts the fields of one job from any number of pages.
pub struct Extractor {
    html: PageJob,
    json: JsonJob,
    is_empty: bool,
}

impl Extractor {
    /// Compiles a job's selectors.
    ///
    /// # Errors
    /// Fails if a selector is not valid, or if this build does not support it.
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
    /// Fails if the body cannot be read, if it is not valid XML or JSON, or if it exceeds a limit.
    pub fn extract(&self, page: Page<'_>, body: &mut dyn Body) -> Result<Extracted, ExtractError> {
        let deadline = Deadline::after(page.parse_timeout);
        let mut input = Input::new(body);
        if self.tries_json(page.kind, &mut input)? {
            let encoding = charset::of_json(&mut input, page.content_type_charset)?;
            // Queries are encoded in the encoding of an HTML page, and this is not HTML.
            let links = Links::new(page.url, None, encoding_rs::UTF_8);
            let around = Around { links: &links, deadline: &deadline };
            match self.json.run(&mut input, encoding, around) {
                // HTML may begin like JSON.
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

    /// Whether to read a body as JSON: it is declared as JSON, or it begins like JSON.
    fn tries_json(&self, kind: Kind, input: &mut Input<'_>) -> io::Result<bool> {
        match kind {
            _ if self.is_empty => Ok(false),
            Kind::Json => Ok(true),
            Kind::Html | Kind::Xml => Ok(self.json.has_paths() && looks_like_json(input)?),
            Kind::Unknown => Ok(self.json.reads() && looks_like_json(input)?),
        }
    }
}

/// Whether a body begins with a bracket, after a byte order mark and white space. No HTML page does.
fn looks_like_json(input: &mut Input<'_>) -> io::Result<bool> {
    let mut ahead_bytes = 256;
    loop {
        let ahead = input.peek(ahead_bytes)?;
        let is_all = ahead.len() < ahead_bytes;
        let text = ahead.get(Encoding::for_bom(ahead).map_or(0, |(_, bytes)| bytes)..).unwrap_or_default();
        // In UTF-16, the other byte of each of these characters is zero.
        match text.iter().find(|byte| !byte.is_ascii_whitespace() && **byte != 0) {
            Some(first) => return Ok(matches!(first, b'{' | b'[')),
            None if is_all => return Ok(false),
            None => ahead_bytes *= 4,
        }
    }
}
