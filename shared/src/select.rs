//! The `--select` language: `NAME=SELECTOR`, with `NAME[]` for every match and
//! a last step that says what to take (`::text`, `::attr(NAME)`).
//!
//! Parsed in the supervisor, so that a bad selector is refused before any work
//! starts, and carried to the workers in its parsed form. A [`Field`] that came
//! out of [`Field::parse`] always holds a selector that the CSS engine accepts.

use std::fmt;

use cssparser::ParseErrorKind;
use scraper::selector::{Parser, Simple};
use selectors::SelectorList;
use selectors::parser::{ParseRelative, SelectorParseErrorKind};
use serde::{Deserialize, Serialize};

/// One field of the output record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its key under `fields`.
    pub name: String,
    /// A CSS selector, without our last step.
    pub selector: String,
    /// What is taken of a matching element.
    pub take: Take,
    /// Every match (a list) or the first one (a string or `null`).
    pub every: bool,
}

/// What is taken of a matching element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Take {
    /// All the text inside, entities decoded, trimmed.
    Text,
    /// The value of an attribute (its name in lower case); `href` and `src` are resolved.
    /// An element without the attribute is no match.
    Attribute(String),
}

/// Why a `--select` was refused: what is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SelectError {
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
        let Self { flag, position, problem, fix } = self;
        write!(f, "--select '{flag}': {problem}, at character {position}; {fix}")
    }
}

/// A refusal while its place is still a byte offset into the flag.
struct Refusal {
    at: usize,
    problem: String,
    fix: String,
}

impl Refusal {
    fn new(at: usize, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { at, problem: problem.into(), fix: fix.into() }
    }

    fn in_flag(self, flag: &str) -> SelectError {
        let position = flag.char_indices().take_while(|(at, _)| *at < self.at).count() + 1;
        SelectError { flag: flag.to_owned(), position, problem: self.problem, fix: self.fix }
    }
}

impl Field {
    /// Parses one `--select` value.
    ///
    /// # Errors
    /// When the name, the CSS selector or the last step is missing or wrong.
    pub fn parse(flag: &str) -> Result<Self, SelectError> {
        parse(flag).map_err(|refusal| refusal.in_flag(flag))
    }

    /// Parses every `--select` of a job, in order.
    ///
    /// # Errors
    /// As [`Field::parse`]; also when two fields have the same name, since a
    /// record holds each name once.
    pub fn parse_all<S: AsRef<str>>(flags: &[S]) -> Result<Vec<Self>, SelectError> {
        let mut fields: Vec<Self> = Vec::with_capacity(flags.len());
        for flag in flags {
            let flag = flag.as_ref();
            let field = Self::parse(flag)?;
            if fields.iter().any(|earlier| earlier.name == field.name) {
                let problem = format!("the name `{}` is taken by an earlier --select", field.name);
                return Err(Refusal::new(0, problem, "give each field a name of its own").in_flag(flag));
            }
            fields.push(field);
        }
        Ok(fields)
    }
}

fn parse(flag: &str) -> Result<Field, Refusal> {
    const SHAPE: &str = "write NAME=SELECTOR, as in title=title::text or 'links[]=a::attr(href)'";
    let Some((name, selector)) = flag.split_once('=') else {
        return Err(Refusal::new(flag.len(), "there is no `=`", SHAPE));
    };
    let selector_at = name.len() + 1;
    let (name, every) = match name.trim().strip_suffix("[]") {
        Some(name) => (name.trim_end(), true),
        None => (name.trim(), false),
    };
    if name.is_empty() {
        return Err(Refusal::new(0, "the name before `=` is empty", SHAPE));
    }
    if let Some(at) = flag.find(|c: char| c == '[' || c == ']' || c.is_control())
        && at < selector_at - 1
        && name.contains(|c: char| c == '[' || c == ']' || c.is_control())
    {
        return Err(Refusal::new(at, "a name cannot contain brackets or control characters", SHAPE));
    }

    let (css, take) = split_last_step(selector, selector_at)?;
    let css_at = selector_at + (css.len() - css.trim_start().len());
    let css = css.trim();
    if css.is_empty() {
        let fix = "name the elements to take it from, as in h1::text";
        return Err(Refusal::new(css_at, "the selector is empty", fix));
    }
    check_css(css).map_err(|refusal| Refusal { at: css_at + refusal.at, ..refusal })?;
    Ok(Field { name: name.to_owned(), selector: css.to_owned(), take, every })
}

/// Cuts `::text` or `::attr(NAME)` off the end of a selector that starts at
/// byte `base` of the flag.
fn split_last_step(selector: &str, base: usize) -> Result<(&str, Take), Refusal> {
    const STEPS: &str = "end it with ::text or ::attr(NAME), once, after the whole selector";
    let Some(at) = step_start(selector).map_err(|refusal| Refusal { at: base + refusal.at, ..refusal })?
    else {
        return Ok((selector, Take::Text));
    };
    let (css, step) = selector.split_at(at);
    let step = step.trim_end();
    let refuse = |problem: String| Err(Refusal::new(base + at, problem, STEPS));
    if step.eq_ignore_ascii_case("::text") {
        return Ok((css, Take::Text));
    }
    if let Some(rest) = strip_prefix_ignore_case(step, "::attr(") {
        let Some((attribute, after)) = rest.split_once(')') else {
            return refuse("`::attr(` is not closed".to_owned());
        };
        if !after.is_empty() {
            return refuse(format!("`{}` follows the last step", after.trim()));
        }
        let attribute = attribute.trim();
        if attribute.is_empty() || attribute.contains(|c: char| "\"'<>/=".contains(c) || c.is_whitespace()) {
            return refuse(format!("`{attribute}` is not an attribute's name"));
        }
        return Ok((css, Take::Attribute(attribute.to_ascii_lowercase())));
    }
    if step.contains(',') {
        return refuse("the last step stands inside a list; it applies to the whole list".to_owned());
    }
    refuse(format!("`{step}` is not a step"))
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

/// Finds the first `::` that is not inside a string or brackets.
///
/// Brackets left open are refused here: CSS closes them silently at the end of
/// its input, and so would swallow our last step.
fn step_start(selector: &str) -> Result<Option<usize>, Refusal> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut quote: Option<(usize, char)> = None;
    let mut chars = selector.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (_, '\\') => {
                chars.next();
            }
            (Some((_, q)), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some((at, c)),
            (None, '[') => open.push((at, ']')),
            (None, '(') => open.push((at, ')')),
            (None, ']' | ')') if open.last().is_some_and(|(_, close)| *close == c) => {
                open.pop();
            }
            (None, ':') if open.is_empty() && chars.peek().is_some_and(|(_, next)| *next == ':') => {
                return Ok(Some(at));
            }
            (None, _) => {}
        }
    }
    if let Some((at, q)) = quote {
        return Err(Refusal::new(at, format!("the string that starts with {q} is not closed"), "close it"));
    }
    if let Some((at, close)) = open.pop() {
        return Err(Refusal::new(at, "a bracket is not closed", format!("add the missing `{close}`")));
    }
    Ok(None)
}

fn check_css(css: &str) -> Result<(), Refusal> {
    let mut parser = cssparser::Parser::new(css);
    SelectorList::<Simple>::parse(&Parser, &mut parser, ParseRelative::No).map(|_| ()).map_err(|error| {
        let (problem, fix) = explain(&error.kind);
        let stop = parser.position().byte_index();
        let missing = matches!(
            error.kind,
            ParseErrorKind::Custom(
                SelectorParseErrorKind::EmptySelector
                    | SelectorParseErrorKind::DanglingCombinator
                    | SelectorParseErrorKind::ClassNeedsIdent
            )
        );
        let at = if missing { stop } else { last_token_start(css.get(..stop).unwrap_or(css)) };
        Refusal::new(at, problem, fix)
    })
}

/// The CSS parser stops behind the token it refuses; a person looks at its start.
fn last_token_start(read: &str) -> usize {
    let read = read.trim_end();
    let before = read.trim_end_matches(|c: char| c.is_alphanumeric() || "-_(".contains(c));
    match before.char_indices().next_back() {
        Some((at, c)) if before.len() == read.len() || ":|".contains(c) => at,
        _ => before.len(),
    }
}

fn explain(kind: &ParseErrorKind<SelectorParseErrorKind>) -> (&'static str, &'static str) {
    use SelectorParseErrorKind as Css;
    const CSS: &str = "write a CSS selector, as in h1 or 'div.price > a[href]'";
    let ParseErrorKind::Custom(kind) = kind else {
        return ("this is not CSS", CSS);
    };
    match kind {
        Css::EmptySelector => ("a selector is missing", CSS),
        Css::DanglingCombinator => {
            ("a combinator has nothing after it", "name the element after it, or drop it")
        }
        Css::NoQualifiedNameInAttributeSelector
        | Css::UnexpectedTokenInAttributeSelector
        | Css::ExpectedBarInAttr
        | Css::BadValueInAttr
        | Css::InvalidQualNameInAttr => {
            ("the attribute test is malformed", "write it as in [href] or [rel=\"next\"]")
        }
        Css::UnsupportedPseudoClassOrElement
        | Css::PseudoElementExpectedColon
        | Css::PseudoElementExpectedIdent
        | Css::NoIdentForPseudo => (
            "there is no such pseudo-class for a saved page",
            "use one that needs no browser, such as :not(), :is(), :has(), :first-child or :nth-child()",
        ),
        Css::ExpectedNamespace | Css::ExplicitNamespaceUnexpectedToken => {
            ("namespaces are not supported", "drop the prefix before `|`")
        }
        Css::ClassNeedsIdent => ("a class has no name", "write it as in .price"),
        Css::NonCompoundSelector
        | Css::NonPseudoElementAfterSlotted
        | Css::InvalidPseudoElementAfterSlotted
        | Css::InvalidPseudoElementInsideWhere
        | Css::InvalidState
        | Css::UnexpectedIdent => ("this is not CSS", CSS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, selector: &str, take: Take, every: bool) -> Field {
        Field { name: name.into(), selector: selector.into(), take, every }
    }

    fn attribute(name: &str) -> Take {
        Take::Attribute(name.into())
    }

    #[test]
    fn fields_parse() {
        let cases = [
            ("title=title::text", field("title", "title", Take::Text, false)),
            ("title=title", field("title", "title", Take::Text, false)),
            ("links[]=a::attr(href)", field("links", "a", attribute("href"), true)),
            ("links[]=a::attr( HREF )", field("links", "a", attribute("href"), true)),
            ("heads[]=h1, h2::text", field("heads", "h1, h2", Take::Text, true)),
            ("x=a[title=\"x::y\"]::attr(id)", field("x", "a[title=\"x::y\"]", attribute("id"), false)),
            ("x=a[title='=']", field("x", "a[title='=']", Take::Text, false)),
            (" x [] = div > p ::text ", field("x", "div > p", Take::Text, true)),
            ("größe=span.größe", field("größe", "span.größe", Take::Text, false)),
            ("x=a\\:\\:b::text", field("x", "a\\:\\:b", Take::Text, false)),
            ("x=li:nth-child(2n+1)", field("x", "li:nth-child(2n+1)", Take::Text, false)),
            ("x=:is(h1, h2):not(.a)", field("x", ":is(h1, h2):not(.a)", Take::Text, false)),
            ("x=a::ATTR(data-id)", field("x", "a", attribute("data-id"), false)),
        ];
        for (flag, expected) in cases {
            assert_eq!(Field::parse(flag).unwrap(), expected, "{flag}");
        }
    }

    #[test]
    fn refusals_say_what_where_and_how() {
        // (flag, position, a part of the problem, a part of the fix)
        let cases = [
            ("title", 6, "no `=`", "NAME=SELECTOR"),
            ("", 1, "no `=`", "NAME=SELECTOR"),
            ("=title", 1, "name before `=` is empty", "NAME=SELECTOR"),
            ("[]=title", 1, "name before `=` is empty", "NAME=SELECTOR"),
            ("a[href=x]=a", 2, "brackets", "NAME=SELECTOR"),
            ("[]links=a", 1, "brackets", "NAME=SELECTOR"),
            ("t=", 3, "selector is empty", "h1::text"),
            ("t=  ", 5, "selector is empty", "h1::text"),
            ("t=::text", 3, "selector is empty", "h1::text"),
            ("t=h1::html", 5, "`::html` is not a step", "::text or ::attr(NAME)"),
            ("t=h1::text::attr(x)", 5, "is not a step", "once"),
            ("t=h1::text, h2::text", 5, "inside a list", "after the whole selector"),
            ("t=a::attr(href", 4, "not closed", "::attr(NAME)"),
            ("t=a::attr()", 4, "`` is not an attribute's name", "::attr(NAME)"),
            ("t=a::attr('href')", 4, "not an attribute's name", "::attr(NAME)"),
            ("t=a::attr(href) b", 4, "`b` follows the last step", "::attr(NAME)"),
            ("t=a[href", 4, "bracket is not closed", "`]`"),
            ("t=a[title=\"x]::text", 11, "string", "close it"),
            ("t=a:not(b", 8, "bracket is not closed", "`)`"),
            ("t=h1 >", 7, "combinator", "drop it"),
            ("t=h1,", 6, "selector is missing", "CSS selector"),
            ("t=, h1", 3, "selector is missing", "CSS selector"),
            ("t=é, a:hover", 7, "pseudo-class", ":not()"),
            ("t=h1 + $", 9, "combinator", "name the element"),
            ("t=a[=x]", 7, "attribute test", "[href]"),
            ("t=svg|a", 6, "namespaces", "drop the prefix"),
            ("t=a.", 4, "not CSS", "CSS selector"),
        ];
        for (flag, position, problem, fix) in cases {
            let error = Field::parse(flag).unwrap_err();
            assert_eq!(error.position, position, "{error}");
            assert!(error.problem.contains(problem), "{error}");
            assert!(error.fix.contains(fix), "{error}");
            assert!(error.to_string().contains(flag), "{error}");
        }
    }

    #[test]
    fn a_name_can_be_used_once() {
        let fields = Field::parse_all(&["a=h1", "b=h2"]).unwrap();
        assert_eq!(fields.len(), 2);
        let error = Field::parse_all(&["a=h1", "a[]=h2"]).unwrap_err();
        assert!(error.to_string().contains("'a[]=h2': the name `a` is taken"), "{error}");
    }
}
