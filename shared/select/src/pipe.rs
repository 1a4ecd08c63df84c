//! The steps after a selector: `| re(…) | strip | int …`.
//!
//! A flag is parsed together with its steps. So a `join` of a single
//! value, or a `strip` of a number, is refused and never reaches a worker.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::refusal::{Refusal, nearest};

/// Maximum memory of one compiled expression, in bytes. An expression of this size
/// reads a megabyte of text in well under a second.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// The names of all steps.
const NAMES: [&str; 8] = ["re", "strip", "int", "float", "url", "first", "join", "default"];

/// The last part of every refusal of a step's name.
const STEPS: &str =
    "the steps are re(REGEX), strip, int, float, url, first, join(SEPARATOR) and default(VALUE)";

/// One step: what to do with each value, or with all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pipe {
    /// Take the first group of the first match, or the whole match if there are no groups. Drop values that do
    /// not match.
    Re(String),
    /// Remove white space at both ends, including no-break spaces.
    Strip,
    /// Convert to an integer, or `null`.
    Int,
    /// Convert to a number, or `null`.
    Float,
    /// Make absolute, relative to the page's base.
    Url,
    /// Take the first of a list, or `null`.
    First,
    /// Join a list into one text.
    Join(String),
    /// Replace `null`.
    Default(String),
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Re(pattern) => write!(f, "re({pattern})"),
            Self::Strip => f.write_str("strip"),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Url => f.write_str("url"),
            Self::First => f.write_str("first"),
            Self::Join(separator) => write!(f, "join({})", escaped(separator)),
            Self::Default(value) => write!(f, "default({})", escaped(value)),
        }
    }
}

/// The type of a value between two steps, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A text, or a value of JSON or XPath, which is treated as one.
    Text,
    Int,
    Float,
}

/// Parses the steps in `text`, which starts with the first `|`, at byte `base` of the flag.
pub(crate) fn parse(text: &str, base: usize, every: bool) -> Result<Vec<Pipe>, Refusal> {
    let mut pipes = Vec::new();
    let (mut kind, mut is_list) = (Kind::Text, every);
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        // `rest` begins with the `|` after the previous step.
        let body = rest.get(1..).unwrap_or_default();
        let name_at = at + 1 + (body.len() - body.trim_start().len());
        let (pipe, end) = step(text, name_at).map_err(|refusal| refusal.shifted(base))?;
        check(&pipe, &mut kind, &mut is_list)
            .map_err(|(problem, fix)| Refusal::new(base + name_at, problem, fix))?;
        pipes.push(pipe);
        let after = text.get(end..).unwrap_or_default();
        at = end + (after.len() - after.trim_start().len());
        match text.get(at..).and_then(|rest| rest.chars().next()) {
            None | Some('|') => {}
            Some(_) => {
                let problem = format!("`{}` follows a step", text.get(at..).unwrap_or_default().trim_end());
                return Err(Refusal::new(base + at, problem, "put a `|` between steps"));
            }
        }
    }
    Ok(pipes)
}

/// The name of a step at the start of `text`, or an empty text.
pub(crate) fn name_at_start(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Parses the step whose name starts at `at`, and returns where it ends.
fn step(text: &str, at: usize) -> Result<(Pipe, usize), Refusal> {
    let rest = text.get(at..).unwrap_or_default();
    let name = name_at_start(rest);
    if name.is_empty() {
        return Err(Refusal::new(at, "a step is missing", STEPS));
    }
    if !NAMES.contains(&name) {
        let fix = match nearest(name, NAMES) {
            Some(near) => format!("did you mean `{near}`? {STEPS}"),
            None => STEPS.to_owned(),
        };
        return Err(Refusal::new(at, format!("`{name}` is not a step"), fix));
    }
    let after = at + name.len();
    let open = text.get(after..).unwrap_or_default();
    let open_at = after + (open.len() - open.trim_start().len());
    let argument = if open.trim_start().starts_with('(') {
        let end = closing(text, open_at, name == "re")?;
        Some((open_at + 1, text.get(open_at + 1..end).unwrap_or_default(), end + 1))
    } else {
        None
    };
    with_argument(name, argument, at, after)
}

fn with_argument(
    name: &str,
    argument: Option<(usize, &str, usize)>,
    at: usize,
    after: usize,
) -> Result<(Pipe, usize), Refusal> {
    let plain = match name {
        "strip" => Some(Pipe::Strip),
        "int" => Some(Pipe::Int),
        "float" => Some(Pipe::Float),
        "url" => Some(Pipe::Url),
        "first" => Some(Pipe::First),
        _ => None,
    };
    match (plain, argument) {
        (Some(pipe), None) => Ok((pipe, after)),
        (Some(_), Some(_)) => {
            Err(Refusal::new(after, format!("`{name}` takes no argument"), "leave out the parentheses"))
        }
        (None, None) => {
            let example = match name {
                "re" => "re(([0-9]+) pages)",
                "join" => "join(, )",
                _ => "default(none)",
            };
            Err(Refusal::new(
                after,
                format!("`{name}` needs an argument in parentheses"),
                format!("write it as in {example}"),
            ))
        }
        (None, Some((inside_at, inside, end))) => match name {
            "re" => {
                check_regex(inside).map_err(|refusal| refusal.shifted(inside_at))?;
                Ok((Pipe::Re(inside.to_owned()), end))
            }
            "join" => Ok((Pipe::Join(unescaped(inside)), end)),
            _ if inside.is_empty() => {
                Err(Refusal::new(at, "`default` needs a value", "write it as in default(none)"))
            }
            _ => Ok((Pipe::Default(unescaped(inside)), end)),
        },
    }
}

/// Finds the parenthesis that closes the one at `open`. In a regular expression, parentheses
/// in a class (`[)]`) do not count, and neither do escaped ones.
fn closing(text: &str, open: usize, is_regex: bool) -> Result<usize, Refusal> {
    let mut depth = 0_usize;
    let mut classes = 0_usize;
    // The position after the bracket that opens a class, and after a `^` that follows it.
    let (mut class_start, mut negated) = (false, false);
    let mut chars = text.char_indices().skip_while(|(at, _)| *at < open);
    while let Some((at, c)) = chars.next() {
        let first_in_class = std::mem::take(&mut class_start);
        let behind_caret = std::mem::take(&mut negated);
        match c {
            '\\' => {
                chars.next();
            }
            '[' if is_regex => {
                classes += 1;
                class_start = true;
            }
            // In `[]…]` and `[^]…]`, the first bracket is a member of the class.
            '^' if first_in_class && !behind_caret => (class_start, negated) = (true, true),
            ']' if classes > 0 && !first_in_class => classes -= 1,
            '(' if classes == 0 => depth += 1,
            ')' if classes == 0 => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => {}
        }
    }
    Err(Refusal::new(
        open,
        "a parenthesis is not closed",
        "add the missing `)`; write \\( and \\) for literal parentheses",
    ))
}

/// The meaning of `\n`, `\t` and other characters after a backslash.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out
}

/// Writes a text in the form used inside parentheses.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '(' | ')' | '\\' => out.extend(['\\', c]),
            other => out.push(other),
        }
    }
    out
}

/// Compiles a regular expression, with the limits that apply everywhere.
///
/// # Errors
/// Fails if the expression is malformed, or larger than 1 MiB when compiled.
pub fn regex(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()
}

/// Compiles a regular expression that is matched with bytes, with the limits that apply everywhere.
///
/// # Errors
/// Fails as [`regex()`] does.
pub fn byte_regex(pattern: &str) -> Result<regex::bytes::Regex, regex::Error> {
    regex::bytes::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()
}

/// Refuses an expression that does not compile, and names the place of the error.
pub(crate) fn check_regex(pattern: &str) -> Result<(), Refusal> {
    regex(pattern).map(drop).map_err(|error| explain(pattern, &error, true))
}

/// The same, for an expression that is matched with bytes.
pub(crate) fn check_byte_regex(pattern: &str) -> Result<(), Refusal> {
    byte_regex(pattern).map(drop).map_err(|error| explain(pattern, &error, false))
}

/// Says why an expression does not compile. `utf8`: it must match text only.
fn explain(pattern: &str, error: &regex::Error, utf8: bool) -> Refusal {
    const FIX: &str =
        "look-around and back-references are not supported: every expression must run in linear time";
    match regex_syntax::ParserBuilder::new().utf8(utf8).build().parse(pattern) {
        Err(regex_syntax::Error::Parse(error)) => Refusal::new(
            error.span().start.offset,
            format!("this is not a regular expression: {}", error.kind()),
            FIX,
        ),
        Err(regex_syntax::Error::Translate(error)) => Refusal::new(
            error.span().start.offset,
            format!("this is not a regular expression: {}", error.kind()),
            FIX,
        ),
        Err(_) | Ok(_) => {
            let problem = if matches!(error, regex::Error::CompiledTooBig(_)) {
                "the regular expression is too large".to_owned()
            } else {
                format!("this is not a regular expression: {error}")
            };
            Refusal::new(0, problem, "write it with fewer or smaller repetitions")
        }
    }
}

/// Checks whether a step accepts a type, and returns the type of its result.
fn check(pipe: &Pipe, kind: &mut Kind, is_list: &mut bool) -> Result<(), (String, String)> {
    let text_only = |name: &str| match kind {
        Kind::Text => Ok(()),
        Kind::Int | Kind::Float => Err((
            format!("`{name}` takes text, but the step before it returns a number"),
            format!("put `{name}` before `int` and `float`"),
        )),
    };
    match pipe {
        Pipe::Re(_) => text_only("re")?,
        Pipe::Strip => text_only("strip")?,
        Pipe::Url => text_only("url")?,
        Pipe::Int => {
            text_only("int")?;
            *kind = Kind::Int;
        }
        Pipe::Float => {
            text_only("float")?;
            *kind = Kind::Float;
        }
        Pipe::First if *is_list => *is_list = false,
        Pipe::First => {
            return Err((
                "`first` takes a list, but gets a single value".to_owned(),
                "leave it out, or take every match with NAME[]=".to_owned(),
            ));
        }
        Pipe::Join(_) if *is_list => (*kind, *is_list) = (Kind::Text, false),
        Pipe::Join(_) => {
            return Err((
                "`join` takes a list, but gets a single value".to_owned(),
                "take every match with NAME[]=, or leave it out".to_owned(),
            ));
        }
        Pipe::Default(value) => {
            let fits = match kind {
                Kind::Text => true,
                Kind::Int => value.parse::<i64>().is_ok(),
                Kind::Float => value.parse::<f64>().is_ok_and(f64::is_finite),
            };
            if !fits {
                return Err((
                    format!("`{value}` is not a number, as the other values are"),
                    "write a number as in default(0), or put `default` before `int` and `float`".to_owned(),
                ));
            }
        }
    }
    Ok(())
}
