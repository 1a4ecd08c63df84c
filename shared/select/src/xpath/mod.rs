//! XPath 1.0 as a tree: parsed and checked here, evaluated by the workers.
//!
//! Parser and evaluator are our own. The published ones do not fit: skyscraper 0.7
//! parses pages with its own parser, which would be a second tree that may
//! differ from ours; sxd-xpath has had no release since 2018 and needs the page copied into
//! its documents; xee is a large engine for a later version of the language. None of
//! them can be stopped when an expression takes too long on a page. There are no
//! variables and no namespaces: a name matches the local name of HTML, SVG and MathML alike.

mod function;
mod parse;
mod token;

pub use self::function::Function;
pub use self::parse::parse;

/// Maximum tokens of an expression. Parsing and evaluation recurse over it. An
/// expression written by a person has a tenth of this.
const TOKENS_MAX: usize = 512;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `or`, `and`, a comparison or arithmetic.
    Binary(Box<Expr>, Operator, Box<Expr>),
    /// `-x`
    Negate(Box<Expr>),
    /// `a | b`
    Union(Vec<Expr>),
    /// A path.
    Path(Start, Vec<Step>),
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// A function of the core library.
    Call(Function, Vec<Expr>),
}

/// The start of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// The document.
    Root,
    /// The context node.
    Here,
    /// The value of an expression, filtered.
    Of(Box<Expr>, Vec<Expr>),
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The direction.
    pub axis: Axis,
    /// The nodes that match.
    pub test: NodeTest,
    /// Filters, applied in order.
    pub predicates: Vec<Expr>,
}

/// Binary operators.
#[expect(missing_docs, reason = "the names say what they are")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// The directions of a step.
#[expect(missing_docs, reason = "the names say what they are")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    Ancestor,
    AncestorOrSelf,
    Attribute,
    Child,
    Descendant,
    DescendantOrSelf,
    Following,
    FollowingSibling,
    Parent,
    Preceding,
    PrecedingSibling,
    Itself,
}

impl Axis {
    const NAMES: [(&'static str, Self); 12] = [
        ("ancestor", Self::Ancestor),
        ("ancestor-or-self", Self::AncestorOrSelf),
        ("attribute", Self::Attribute),
        ("child", Self::Child),
        ("descendant", Self::Descendant),
        ("descendant-or-self", Self::DescendantOrSelf),
        ("following", Self::Following),
        ("following-sibling", Self::FollowingSibling),
        ("parent", Self::Parent),
        ("preceding", Self::Preceding),
        ("preceding-sibling", Self::PrecedingSibling),
        ("self", Self::Itself),
    ];
}

/// A test for the nodes of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeTest {
    /// Elements (or attributes) with this name.
    Name(String),
    /// Elements (or attributes) with any name.
    AnyName,
    /// All nodes.
    Node,
    /// Text nodes.
    Text,
    /// Comments.
    Comment,
    /// Processing instructions, which HTML does not have; optionally with this target only.
    Instruction(Option<String>),
}

/// Why an expression is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, at byte {at}")]
pub struct XPathError {
    /// The position of the error, as a byte offset.
    pub at: usize,
    /// What is wrong.
    pub problem: String,
}
