//! CSS selectors with our last step: `::text`, `::attr(NAME)`, `::html`.

mod language;

use std::borrow::Cow;

use cssparser::ParseErrorKind;
use selectors::parser::SelectorParseErrorKind;

pub use self::language::{Css, CssError, Direction, Plain, PseudoClass, PseudoElement, selectors};

use crate::pipe::name_at_start;
use crate::refusal::{Refusal, nearest};
use crate::{Take, is_link};

/// Most brackets inside each other. The parser calls itself for each, and its stack has an end.
const DEPTH_MAX: usize = 32;

/// Parses a selector and its last step, which stand at byte `base` of the flag.
pub(crate) fn parse(text: &str, base: usize) -> Result<(String, Take), Refusal> {
    let (css, take) = split_last_step(text, base)?;
    let is_below = css.len() < text.len() && css.ends_with(|c: char| c.is_ascii_whitespace());
    let css_at = base + (css.len() - css.trim_start().len());
    let css = css.trim();
    if css.is_empty() {
        let fix = "name the elements to take it from, as in h1::text";
        return Err(Refusal::new(css_at, "the selector is empty", fix));
    }
    let backslashes = css.len() - css.trim_end_matches('\\').len();
    if backslashes % 2 == 1 {
        return Err(Refusal::new(css_at + css.len() - 1, "a backslash has nothing to escape", "drop it"));
    }
    // White space before the step is the descendant combinator, as in Scrapy: `div ::text` means
    // `div *::text`, and `div > ::text` means `div > *::text`.
    let css =
        if is_below && !css.ends_with(',') { Cow::Owned(format!("{css} *")) } else { Cow::Borrowed(css) };
    check_css(&css).map_err(|refusal| refusal.shifted(css_at))?;
    Ok((css.into_owned(), take))
}

/// Parses a selector that names elements, without a last step.
pub(crate) fn parse_elements(text: &str, base: usize) -> Result<String, Refusal> {
    if let Some(at) = step_start(text).map_err(|refusal| refusal.shifted(base))? {
        let fix = "select elements here, and say in --select what to take from them";
        return Err(Refusal::new(base + at, "a last step is not allowed here", fix));
    }
    parse(text, base).map(|(css, _)| css)
}

/// Whether a selector that [`parse`] accepts ends with a step that says what to take. Steps may follow it.
pub(crate) fn says_what_to_take(text: &str) -> bool {
    matches!(step_start(text), Ok(Some(_)))
}

/// Cuts `::text`, `::attr(NAME)` or `::html` off the end of a selector that starts at
/// byte `base` of the flag.
fn split_last_step(selector: &str, base: usize) -> Result<(&str, Take), Refusal> {
    const STEPS: &str = "end it with ::text, ::attr(NAME) or ::html, once, after the whole selector";
    let Some(at) = step_start(selector).map_err(|refusal| refusal.shifted(base))? else {
        return Ok((selector, Take::Text));
    };
    let (css, step) = selector.split_at(at);
    let step = step.trim_end();
    let refuse = |problem: String| Err(Refusal::new(base + at, problem, STEPS));
    if step.eq_ignore_ascii_case("::text") {
        return Ok((css, Take::Text));
    }
    if step.eq_ignore_ascii_case("::html") {
        return Ok((css, Take::Html));
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
        return Ok((css, Take::Attribute(attribute.to_owned())));
    }
    if step.contains(',') {
        return refuse("the last step is inside a list; it applies to the whole list".to_owned());
    }
    let word = name_at_start(step.trim_start_matches(':'));
    let meant = if is_link(word) {
        Some(format!("::attr({word})"))
    } else {
        nearest(word, ["text", "attr", "html"]).map(|near| format!("::{near}"))
    };
    if let Some(meant) = meant.filter(|meant| !step.starts_with(meant)) {
        let fix = format!("did you mean {meant}? {STEPS}");
        return Err(Refusal::new(base + at, format!("`{step}` is not a step"), fix));
    }
    refuse(format!("`{step}` is not a step"))
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

/// Finds the first `::` that is not inside a string or brackets.
///
/// Brackets that stay open are refused here. CSS closes them silently at the end of
/// its input, so the last step would become a part of the selector.
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
            (None, '/') if chars.peek().is_some_and(|(_, next)| *next == '*') => {
                return Err(Refusal::new(at, "a comment is not allowed here", "drop it"));
            }
            (None, '[' | '(') if open.len() == DEPTH_MAX => {
                let problem = format!("brackets are nested more than {DEPTH_MAX} deep");
                return Err(Refusal::new(at, problem, "nest fewer of them"));
            }
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
    let Err(CssError { at, kind, unknown }) = selectors(css) else { return Ok(()) };
    if let Some(name) = unknown {
        // The parser stops at the end of the block that contains the name.
        let at = css.find(&format!(":{name}")).unwrap_or(at);
        let fix = match nearest(&name, language::names()) {
            Some(near) => format!("did you mean `:{near}`?"),
            None => "use a pseudo-class of CSS, such as :not(), :is(), :has(), :first-child or :checked"
                .to_owned(),
        };
        return Err(Refusal::new(at, format!("there is no pseudo-class `:{name}`"), fix));
    }
    let (problem, fix) = explain(&kind);
    let missing = matches!(
        kind,
        ParseErrorKind::Custom(
            SelectorParseErrorKind::EmptySelector
                | SelectorParseErrorKind::DanglingCombinator
                | SelectorParseErrorKind::ClassNeedsIdent
        )
    );
    let at = if missing { at } else { last_token_start(css.get(..at).unwrap_or(css)) };
    Err(Refusal::new(at, problem, fix))
}

/// The CSS parser stops after the token that it refuses; the message shows where the token starts.
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
            "a saved page has no pseudo-elements",
            "write a pseudo-class, such as :not(), :is(), :has() or :first-child",
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
