//! The `--select` language: `NAME=SELECTOR`, with `NAME[]` for every match and
//! a last step that says what to take (`::text`, `::attr(NAME)`).
//!
//! Parsed in the supervisor, so that a bad selector is refused before any work
//! starts, and carried to the workers in its parsed form.

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
    Attribute(String),
}

/// Why a `--select` was refused: what is wrong, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--select '{flag}': {problem}, at character {position}; {fix}")]
pub struct SelectError {
    /// The flag's value as it was given.
    pub flag: String,
    /// Where in the flag, in characters from 1.
    pub position: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl Field {
    /// Parses one `--select` value.
    ///
    /// # Errors
    /// When the name, the CSS selector or the last step is missing or wrong.
    pub fn parse(flag: &str) -> Result<Self, SelectError> {
        let refuse = |problem: &str, fix: &str| SelectError {
            flag: flag.to_owned(),
            position: 1,
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        };
        let (name, selector) = flag
            .split_once('=')
            .ok_or_else(|| refuse("there is no `=`", "write NAME=SELECTOR"))?;
        let (css, take) = match selector.rsplit_once("::") {
            None | Some((_, "text")) => (selector.trim_end_matches("::text"), Take::Text),
            Some((css, step)) => match step.strip_prefix("attr(").and_then(|step| step.strip_suffix(')')) {
                Some(attribute) => (css, Take::Attribute(attribute.to_ascii_lowercase())),
                None => return Err(refuse("an unknown last step", "write ::text or ::attr(NAME)")),
            },
        };
        scraper::Selector::parse(css).map_err(|_| refuse("not a CSS selector", "correct it"))?;
        Ok(Self {
            name: name.trim_end_matches("[]").to_owned(),
            selector: css.to_owned(),
            take,
            every: name.ends_with("[]"),
        })
    }

    /// Parses every `--select` of a job, in order.
    ///
    /// # Errors
    /// As [`Field::parse`]; also when two fields have the same name.
    pub fn parse_all<S: AsRef<str>>(flags: &[S]) -> Result<Vec<Self>, SelectError> {
        let mut fields: Vec<Self> = Vec::with_capacity(flags.len());
        for flag in flags {
            let field = Self::parse(flag.as_ref())?;
            if fields.iter().any(|earlier| earlier.name == field.name) {
                return Err(SelectError {
                    flag: flag.as_ref().to_owned(),
                    position: 1,
                    problem: format!("the name `{}` is taken by an earlier --select", field.name),
                    fix: "give each field a name of its own".to_owned(),
                });
            }
            fields.push(field);
        }
        Ok(fields)
    }
}
