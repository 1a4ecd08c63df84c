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
