//! XPath 1.0 as a tree: parsed and checked here, evaluated by the workers.
//!
//! Parser and evaluator are ours. What is published was looked at: skyscraper 0.7
//! parses pages with a parser of its own, which would be a second tree that need not
//! be ours; sxd-xpath has had no release since 2018 and wants the page copied into
//! its documents; xee is a large engine for a later version of the language. None of
//! them can be stopped when a page makes an expression run away. There are no
//! variables and no namespaces: a name matches the local name of HTML, SVG and MathML alike.

mod function;
mod parse;
mod token;

pub use self::function::Function;
pub use self::parse::parse;

/// Most tokens of an expression. Both parsing and evaluating recurse over it, and a
/// person writes a tenth of this.
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
    /// Steps from somewhere.
    Path(Start, Vec<Step>),
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// A function of the core library.
    Call(Function, Vec<Expr>),
}

/// Where a path starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// The document.
    Root,
    /// The node in question.
    Here,
    /// What an expression gives, filtered.
    Of(Box<Expr>, Vec<Expr>),
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where to.
    pub axis: Axis,
    /// Which nodes.
    pub test: NodeTest,
    /// Of those, the ones for which each of these holds, in turn.
    pub predicates: Vec<Expr>,
}

/// Operators of two sides.
#[expect(missing_docs, reason = "they are called what they are")]
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
#[expect(missing_docs, reason = "they are called what they are")]
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

/// Which nodes of an axis a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeTest {
    /// Elements (or attributes) of this name.
    Name(String),
    /// Elements (or attributes) of any name.
    AnyName,
    /// All nodes.
    Node,
    /// Texts.
    Text,
    /// Comments.
    Comment,
    /// Processing instructions, of which HTML has none; perhaps those with a target only.
    Instruction(Option<String>),
}

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, at byte {at}")]
pub struct XPathError {
    /// Where, as a byte offset.
    pub at: usize,
    /// What is wrong.
    pub problem: String,
}
