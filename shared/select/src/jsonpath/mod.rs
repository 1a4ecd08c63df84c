//! JSONPath (RFC 9535) as a tree: parsed and checked here, evaluated by the workers.
//!
//! Parser and evaluator are ours because a page must not run away with a query:
//! no published evaluator can be stopped half-way, and `$..*..*..*` or a filter
//! inside a filter takes a power of the body's size. Nothing here recurses
//! deeper than `DEPTH_MAX`.

mod parse;
mod text;

use regex::Regex;

use wire::json::Json;

/// Brackets and parentheses inside each other, above any query that is meant.
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
    /// Also of everything below (`..`), not of the value alone.
    pub descends: bool,
    /// What is taken; of each selector in turn.
    pub selectors: Vec<Selector>,
}

/// What is taken of a value's children.
#[derive(Debug, Clone)]
pub enum Selector {
    /// The member of an object with this name.
    Name(String),
    /// All of them.
    Wildcard,
    /// One element of an array; from its end when negative.
    Index(i64),
    /// Some elements of an array.
    Slice {
        /// The first.
        start: Option<i64>,
        /// The one behind the last.
        end: Option<i64>,
        /// The distance; backwards when negative.
        step: i64,
    },
    /// Those for which this holds.
    Filter(Logic),
}

/// What holds of a child, or does not.
#[derive(Debug, Clone)]
pub enum Logic {
    /// Any of these.
    Or(Vec<Logic>),
    /// All of these.
    And(Vec<Logic>),
    /// Not this.
    Not(Box<Logic>),
    /// The query finds something.
    Exists(Query),
    /// Two values compare like this.
    Compare(Operand, Comparison, Operand),
    /// A text matches a pattern.
    Matches {
        /// All of it (`match`), or a part (`search`).
        whole: bool,
        /// The text.
        text: Operand,
        /// The pattern.
        pattern: Pattern,
    },
}

/// How two values compare.
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

/// One side of a comparison, or what a function is given.
#[derive(Debug, Clone)]
pub enum Operand {
    /// Written in the query.
    Literal(Json<'static>),
    /// What a query for at most one value finds.
    Query(Query),
    /// Characters of a text, elements of an array or members of an object.
    Length(Box<Operand>),
    /// How many values a query finds.
    Count(Query),
    /// The value of a query that finds exactly one.
    Value(Query),
}

/// A query inside a filter.
#[derive(Debug, Clone)]
pub struct Query {
    /// Starts at the whole body (`$`), not at the child in question (`@`).
    pub from_root: bool,
    /// In order.
    pub segments: Vec<Segment>,
}

/// The pattern of `match` or `search`.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// Written in the query, compiled once.
    Fixed(Regex),
    /// Found in the body; what is no pattern matches nothing.
    Found(Operand),
}

/// Why a query was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, at byte {at}")]
pub struct JsonPathError {
    /// Where, as a byte offset.
    pub at: usize,
    /// What is wrong.
    pub problem: String,
}

impl JsonPath {
    /// Parses a query.
    ///
    /// # Errors
    /// When it is not JSONPath as RFC 9535 has it.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        parse::query(text)
    }
}

impl Query {
    /// Whether it can find one value at most.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        self.segments.iter().all(|segment| {
            !segment.descends
                && matches!(segment.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)])
        })
    }
}

/// Compiles a pattern of `match` (`whole`) or `search`, in the manner of RFC 9485:
/// a dot is anything but a line end.
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
