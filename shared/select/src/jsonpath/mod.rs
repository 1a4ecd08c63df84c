//! JSONPath (RFC 9535) as a tree: parsed and checked here, evaluated by the workers.
//!
//! Parser and evaluator are our own, because a page must not keep a query running for ever:
//! no published evaluator can be stopped, and `$..*..*..*` or a filter
//! inside a filter takes time polynomial in the size of the body. Recursion is never
//! deeper than `DEPTH_MAX`.

mod parse;
mod text;

use regex::Regex;

use wire::json::Json;

/// Maximum depth of nested brackets and parentheses, more than any real query needs.
const DEPTH_MAX: usize = 32;

/// A query: segments applied to the whole body, one after the other.
#[derive(Debug, Clone)]
pub struct JsonPath {
    /// In order.
    pub segments: Vec<Segment>,
}

/// One step down.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Apply to all descendants (`..`) as well as the value.
    pub descends: bool,
    /// What to select, in this order.
    pub selectors: Vec<Selector>,
}

/// Selects children of a value.
#[derive(Debug, Clone)]
pub enum Selector {
    /// The member of an object with this name.
    Name(String),
    /// All children.
    Wildcard,
    /// An element of an array; counted from the end if negative.
    Index(i64),
    /// Some elements of an array.
    Slice {
        /// The first element.
        start: Option<i64>,
        /// The position after the last element.
        end: Option<i64>,
        /// The step; backwards if negative.
        step: i64,
    },
    /// The children for which the condition holds.
    Filter(Logic),
}

/// A condition on a child.
#[derive(Debug, Clone)]
pub enum Logic {
    /// Any of the conditions holds.
    Or(Vec<Logic>),
    /// All of the conditions hold.
    And(Vec<Logic>),
    /// The condition does not hold.
    Not(Box<Logic>),
    /// The query selects something.
    Exists(Query),
    /// The comparison of two values holds.
    Compare(Operand, Comparison, Operand),
    /// A text matches a pattern.
    Matches {
        /// The whole text (`match`), or a part of it (`search`).
        whole: bool,
        /// The text.
        text: Operand,
        /// The pattern.
        pattern: Pattern,
    },
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// One side of a comparison, or an argument of a function.
#[derive(Debug, Clone)]
pub enum Operand {
    /// A literal.
    Literal(Json<'static>),
    /// The value of a query that selects at most one value.
    Query(Query),
    /// The length of a text, an array or an object.
    Length(Box<Operand>),
    /// The number of values that a query selects.
    Count(Query),
    /// The value of a query that selects exactly one.
    Value(Query),
}

/// A query inside a filter.
#[derive(Debug, Clone)]
pub struct Query {
    /// Starts at the whole body (`$`), not at the current child (`@`).
    pub from_root: bool,
    /// In order.
    pub segments: Vec<Segment>,
}

/// The pattern of `match` or `search`.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// A literal, compiled once.
    Fixed(Regex),
    /// A value from the body. If it is not a pattern, it matches nothing.
    Found(Operand),
}

/// Why a query is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, at byte {at}")]
pub struct JsonPathError {
    /// The position of the error, as a byte offset.
    pub at: usize,
    /// What is wrong.
    pub problem: String,
}

impl JsonPath {
    /// Parses a query.
    ///
    /// # Errors
    /// Fails if the text is not JSONPath according to RFC 9535.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        parse::query(text)
    }
}

impl Query {
    /// Whether the query selects at most one value.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        self.segments.iter().all(|segment| {
            !segment.descends
                && matches!(segment.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)])
        })
    }
}

/// Compiles a pattern of `match` (`whole`) or `search` according to RFC 9485:
/// a dot does not match a line end.
#[must_use]
pub fn pattern(text: &str, whole: bool) -> Option<Regex> {
    let mut out = String::with_capacity(text.len() + 16);
    if whole {
        out.push_str("\\A(?:");
    }
    let mut in_class = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '.' if !in_class => out.push_str("[^\\n\\r]"),
            _ => {
                in_class = (in_class || c == '[') && c != ']';
                out.push(c);
            }
        }
    }
    if whole {
        out.push_str(")\\z");
    }
    super::regex(&out).ok()
}
