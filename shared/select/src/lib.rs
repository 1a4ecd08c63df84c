//! What a job takes out of each page: the `--select` language, `--each` and `--preset`; and which pages count as
//! blocked (`--blocked-if`).
//!
//! A field is `NAME=SELECTOR | STEP | STEP`, with `NAME[]` for every match. The selector is CSS
//! with a last step that says what to take (`::text`, `::attr(NAME)`, `::html`),
//! JSONPath (it begins with `$`) or XPath (it begins with `/`, `./`, `(` or `xpath:`).
//!
//! | module | holds |
//! |---|---|
//! | [`css`], [`jsonpath`], [`xpath`] | the parsers of the three languages, and what they return |
//! | `cut` | where a selector ends and its steps begin |
//! | `pipe` | the steps |
//! | `preset` | the fields that need no selector |
//! | [`blocked`] | the rules that tell blocked pages from others |
//! | `refusal` | the error: what is wrong, where, and what to write instead |
//!
//! The supervisor parses fields, so that it refuses a bad selector before any work starts. The
//! workers get them as checked text, and evaluate them in the crate `extract`. A [`Field`] that
//! [`Field::parse`] returned always holds a selector that its engine accepts.

pub mod blocked;
pub mod css;
mod cut;
pub mod jsonpath;
mod pipe;
mod preset;
mod refusal;
#[cfg(test)]
mod tests;
#[cfg(feature = "xpath")]
pub mod xpath;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::pipe::{Pipe, byte_regex, regex};
pub use self::preset::Preset;
use self::refusal::Refusal;
pub use self::refusal::SelectError;

/// One field of the output record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its key under `fields`.
    pub name: String,
    /// What to look for.
    pub source: Source,
    /// Take every match (a list) or the first one (a value or `null`).
    pub every: bool,
    /// What to do with each value, in order.
    pub pipes: Vec<Pipe>,
}

/// What to look for in a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Elements.
    Css {
        /// A CSS selector, without the last step.
        selector: String,
        /// What to take from each element.
        take: Take,
    },
    /// Values of a JSON body.
    JsonPath(String),
    /// Nodes of a page, or a number, text or boolean computed from them.
    XPath(String),
}

/// What to take from an element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Take {
    /// All the text inside, with entities decoded, trimmed.
    Text,
    /// The value of an attribute, by its name as written; `href` and `src` are resolved.
    /// An element without the attribute does not match.
    Attribute(String),
    /// The element itself, as HTML.
    Html,
}

/// What `--each` makes objects of: elements or values, in which the fields are then looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Each {
    /// Elements, by a CSS selector.
    Css(String),
    /// Values of a JSON body, by JSONPath.
    JsonPath(String),
    /// Elements, by XPath.
    XPath(String),
}

/// Whether the values of an attribute are links. These are made absolute in all languages.
#[must_use]
pub fn is_link(attribute: &str) -> bool {
    ["href", "src"].iter().any(|link| attribute.eq_ignore_ascii_case(link))
}

impl Field {
    /// Parses one `--select` value.
    ///
    /// # Errors
    /// Fails if the name, the selector, its last step or a later step is missing or not valid.
    pub fn parse(flag: &str) -> Result<Self, SelectError> {
        parse(flag).map_err(|refusal| refusal.in_flag("--select", flag))
    }

    /// Parses the value of `--next`: a selector with steps, as behind the `=` of `--select`. What takes nothing from its
    /// elements takes their `href`.
    ///
    /// # Errors
    /// Fails as [`Field::parse`] does.
    pub fn parse_next(flag: &str) -> Result<Self, SelectError> {
        parse_next(flag).map_err(|refusal| refusal.in_flag("--next", flag))
    }

    /// Parses every `--select` of a job, in order.
    ///
    /// # Errors
    /// Fails as [`Field::parse`] does, and if two fields have the same name: a
    /// record has each name once.
    pub fn parse_all<S: AsRef<str>>(flags: &[S]) -> Result<Vec<Self>, SelectError> {
        let mut fields: Vec<Self> = Vec::with_capacity(flags.len());
        for flag in flags {
            let flag = flag.as_ref();
            let field = Self::parse(flag)?;
            if fields.iter().any(|earlier| earlier.name == field.name) {
                let problem = format!("the name `{}` is already used by an earlier --select", field.name);
                let refusal = Refusal::new(0, problem, "give each field its own name");
                return Err(refusal.in_flag("--select", flag));
            }
            fields.push(field);
        }
        Ok(fields)
    }
}

/// The field as a user would write it, including defaults.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}=", self.name, if self.every { "[]" } else { "" })?;
        match &self.source {
            Source::Css { selector, take: Take::Text } => write!(f, "{selector}::text")?,
            Source::Css { selector, take: Take::Attribute(name) } => write!(f, "{selector}::attr({name})")?,
            Source::Css { selector, take: Take::Html } => write!(f, "{selector}::html")?,
            Source::JsonPath(path) => f.write_str(path)?,
            Source::XPath(path) => write!(f, "xpath:{path}")?,
        }
        self.pipes.iter().try_for_each(|pipe| write!(f, " | {pipe}"))
    }
}

impl Each {
    /// Parses the value of `--each`.
    ///
    /// # Errors
    /// Fails if the selector is missing or not valid, or if it says what to take.
    pub fn parse(flag: &str) -> Result<Self, SelectError> {
        parse_each(flag).map_err(|refusal| refusal.in_flag("--each", flag))
    }

    /// Refuses fields that cannot be looked for inside these items.
    ///
    /// # Errors
    /// Returns what is wrong, and what to do about it.
    pub fn check(&self, fields: &[Field]) -> Result<(), String> {
        if fields.is_empty() {
            return Err(format!(
                "--each '{self}' needs at least one --select, which says what each item holds"
            ));
        }
        let of_json = matches!(self, Self::JsonPath(_));
        for field in fields {
            if of_json != matches!(field.source, Source::JsonPath(_)) {
                let (what, want) =
                    if of_json { ("values of JSON", "JSONPath") } else { ("elements", "CSS or XPath") };
                return Err(format!(
                    "--each '{self}' takes {what}, so --select '{field}' cannot be looked for inside them; use {want} in both"
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Each {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Css(text) | Self::JsonPath(text) => f.write_str(text),
            Self::XPath(text) => write!(f, "xpath:{text}"),
        }
    }
}

/// The key under which a record has the items of `--each`.
pub const ITEMS: &str = "items";

/// Returns the keys under `fields`, in order.
#[must_use]
pub fn names(fields: &[Field], each: Option<&Each>, presets: &[Preset]) -> Vec<String> {
    let mut names: Vec<String> = match each {
        None => fields.iter().map(|field| field.name.clone()).collect(),
        Some(_) => vec![ITEMS.to_owned()],
    };
    names.extend(presets.iter().map(|preset| preset.name().to_owned()));
    names
}

fn parse(flag: &str) -> Result<Field, Refusal> {
    const SHAPE: &str = "write NAME=SELECTOR, as in title=title::text or 'links[]=a::attr(href)'";
    let Some((name, rest)) = flag.split_once('=') else {
        return Err(Refusal::new(flag.len(), "there is no `=`", SHAPE));
    };
    let rest_at = name.len() + 1;
    let (name, every) = match name.trim().strip_suffix("[]") {
        Some(name) => (name.trim_end(), true),
        None => (name.trim(), false),
    };
    if name.is_empty() {
        return Err(Refusal::new(0, "the name before `=` is empty", SHAPE));
    }
    if let Some(at) = flag.find(|c: char| c == '[' || c == ']' || c.is_control())
        && at < rest_at - 1
        && name.contains(|c: char| c == '[' || c == ']' || c.is_control())
    {
        return Err(Refusal::new(at, "a name cannot contain brackets or control characters", SHAPE));
    }

    let (source, pipes) = parse_value(rest, rest_at, every)?;
    Ok(Field { name: name.to_owned(), source, every, pipes })
}

/// Parses a selector with its steps, which begins at byte `base` of the flag.
fn parse_value(text: &str, base: usize, every: bool) -> Result<(Source, Vec<Pipe>), Refusal> {
    let language = Language::of(text);
    let end = cut::first_pipe(text, language).unwrap_or(text.len());
    let (selector, pipes) = text.split_at_checked(end).unwrap_or((text, ""));
    let source = match language {
        Language::Css => {
            let (selector, take) = css::parse(selector, base)?;
            Source::Css { selector, take }
        }
        Language::JsonPath => Source::JsonPath(json_path(selector, base)?),
        Language::XPath => Source::XPath(x_path(selector, base)?),
    };
    Ok((source, pipe::parse(pipes, base + end, every)?))
}

fn parse_next(flag: &str) -> Result<Field, Refusal> {
    let (mut source, pipes) = parse_value(flag, 0, false)?;
    if let Source::Css { take, .. } = &mut source {
        let end = cut::first_pipe(flag, Language::Css).unwrap_or(flag.len());
        if !css::says_what_to_take(flag.get(..end).unwrap_or(flag)) {
            *take = Take::Attribute("href".to_owned());
        }
    }
    Ok(Field { name: "next".to_owned(), source, every: false, pipes })
}

fn parse_each(flag: &str) -> Result<Each, Refusal> {
    let language = Language::of(flag);
    if let Some(at) = cut::first_pipe(flag, language) {
        return Err(Refusal::new(
            at,
            "a step is not allowed here",
            "put steps after the selectors of --select",
        ));
    }
    match language {
        Language::Css => css::parse_elements(flag, 0).map(Each::Css),
        Language::JsonPath => json_path(flag, 0).map(Each::JsonPath),
        Language::XPath => x_path(flag, 0).map(Each::XPath),
    }
}

/// The language of a selector, which its first characters show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Css,
    JsonPath,
    XPath,
}

/// Marks a selector as XPath, however it begins.
const XPATH_PREFIX: &str = "xpath:";

impl Language {
    fn of(selector: &str) -> Self {
        let selector = selector.trim_start();
        if selector.starts_with('$') {
            Self::JsonPath
        } else if selector.starts_with(['/', '('])
            || ["./", "../"].iter().any(|start| selector.starts_with(start))
            // `xpath::text` is the text of an element called `xpath`.
            || selector.strip_prefix(XPATH_PREFIX).is_some_and(|rest| !rest.starts_with(':'))
        {
            Self::XPath
        } else {
            Self::Css
        }
    }
}

fn json_path(text: &str, base: usize) -> Result<String, Refusal> {
    let at = base + (text.len() - text.trim_start().len());
    let text = text.trim();
    jsonpath::JsonPath::parse(text).map_err(|error| {
        const FIX: &str = "write JSONPath, as in $.items[0].name or '$..price'";
        Refusal::new(at + error.at, error.problem, FIX)
    })?;
    Ok(text.to_owned())
}

#[cfg(feature = "xpath")]
fn x_path(text: &str, base: usize) -> Result<String, Refusal> {
    let mut at = base + (text.len() - text.trim_start().len());
    let mut text = text.trim();
    if let Some(rest) = text.strip_prefix(XPATH_PREFIX) {
        at += XPATH_PREFIX.len();
        text = rest;
    }
    xpath::parse(text).map_err(|error| {
        const FIX: &str = "write XPath 1.0, as in //h1/text() or '//a[@rel=\"next\"]/@href'";
        Refusal::new(at + error.at, error.problem, FIX)
    })?;
    Ok(text.to_owned())
}

#[cfg(not(feature = "xpath"))]
fn x_path(text: &str, base: usize) -> Result<String, Refusal> {
    let at = base + (text.len() - text.trim_start().len());
    Err(Refusal::new(at, "this build has no XPath", "use CSS, or build with the feature `xpath`"))
}
