//! Evaluates expressions: steps, predicates, operators.
//!
//! Recursion depth depends on the expression, whose size is limited. Loops
//! that depend on the page count the nodes they visit.

use std::borrow::Cow;

use select::xpath::{Axis, Expr, NodeTest, Operator, Start, Step};

use super::nodes::{NodeId, Nodes};
use super::value::{Value, number_of, written};
use crate::ExtractError;
use crate::found::{Deadline, FOUND_BYTES_MAX};

/// Nodes visited between two checks of the deadline: well under a millisecond.
const NODES_PER_LOOK: u32 = 4096;

/// Nodes that a step may gather before duplicates are removed.
const GATHERED_MAX: usize = 1 << 16;

/// The context of an evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) position: usize,
    pub(super) size: usize,
}

/// The evaluation of one expression on one page.
pub(super) struct Eval<'a, 'p> {
    pub(super) nodes: &'a Nodes<'p>,
    deadline: &'a Deadline,
    looks: u32,
}

impl<'a, 'p> Eval<'a, 'p> {
    pub(super) const fn new(nodes: &'a Nodes<'p>, deadline: &'a Deadline) -> Self {
        Self { nodes, deadline, looks: 0 }
    }

    pub(super) fn run(mut self, expr: &Expr, from: NodeId) -> Result<Value, ExtractError> {
        self.eval(expr, Place { node: from, position: 1, size: 1 })
    }

    /// Counts a visited node.
    pub(super) fn look(&mut self) -> Result<(), ExtractError> {
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(NODES_PER_LOOK) { self.deadline.check() } else { Ok(()) }
    }

    /// The string value of a node, which takes time in proportion to its content.
    pub(super) fn string(&mut self, node: NodeId) -> Result<Cow<'p, str>, ExtractError> {
        let below = self.nodes.end(node).saturating_sub(node.place);
        for _ in 0..below {
            self.look()?;
        }
        let text = self.nodes.string(node);
        // A long text counts as many nodes.
        if text.len() > 4096 {
            self.deadline.check()?;
        }
        Ok(text)
    }

    pub(super) fn eval(&mut self, expr: &Expr, at: Place) -> Result<Value, ExtractError> {
        self.look()?;
        Ok(match expr {
            Expr::Text(text) => Value::Text(text.clone()),
            Expr::Number(number) => Value::Number(*number),
            Expr::Negate(inner) => Value::Number(-self.number(inner, at)?),
            Expr::Binary(left, operator, right) => self.binary(left, *operator, right, at)?,
            Expr::Union(all) => {
                let mut union = Vec::new();
                for one in all {
                    union.extend(self.set(one, at)?);
                }
                Value::Nodes(sorted(union))
            }
            Expr::Path(start, steps) => Value::Nodes(self.path(start, steps, at)?),
            Expr::Call(function, arguments) => self.call(*function, arguments, at)?,
        })
    }

    pub(super) fn number(&mut self, expr: &Expr, at: Place) -> Result<f64, ExtractError> {
        Ok(match self.eval(expr, at)? {
            Value::Nodes(set) => match set.first() {
                Some(first) => number_of(&self.string(*first)?),
                None => f64::NAN,
            },
            Value::Text(text) => number_of(&text),
            Value::Number(number) => number,
            Value::Truth(truth) => f64::from(u8::from(truth)),
        })
    }

    pub(super) fn text(&mut self, expr: &Expr, at: Place) -> Result<String, ExtractError> {
        let value = self.eval(expr, at)?;
        self.text_of(value)
    }

    pub(super) fn text_of(&mut self, value: Value) -> Result<String, ExtractError> {
        Ok(match value {
            Value::Nodes(set) => match set.first() {
                Some(first) => self.string(*first)?.into_owned(),
                None => String::new(),
            },
            Value::Text(text) => text,
            Value::Number(number) => written(number),
            Value::Truth(truth) => truth.to_string(),
        })
    }

    /// A set of nodes. The parser rejects other types here, so they are an empty set.
    pub(super) fn set(&mut self, expr: &Expr, at: Place) -> Result<Vec<NodeId>, ExtractError> {
        Ok(match self.eval(expr, at)? {
            Value::Nodes(set) => set,
            Value::Text(_) | Value::Number(_) | Value::Truth(_) => Vec::new(),
        })
    }

    fn path(&mut self, start: &Start, steps: &[Step], at: Place) -> Result<Vec<NodeId>, ExtractError> {
        let mut set = match start {
            Start::Root => vec![NodeId::ROOT],
            Start::Here => vec![at.node],
            Start::Of(expr, predicates) => {
                let mut set = self.set(expr, at)?;
                for predicate in predicates {
                    set = self.filtered(set, predicate)?;
                }
                set
            }
        };
        let mut steps = steps.iter().peekable();
        while let Some(step) = steps.next() {
            // `//x` selects all descendants at once, unless a predicate depends on the position among siblings.
            let joined = match steps.peek() {
                Some(next)
                    if is_anything_below(step) && next.axis == Axis::Child && next.predicates.is_empty() =>
                {
                    Some(Step { axis: Axis::Descendant, ..(*next).clone() })
                }
                Some(_) | None => None,
            };
            if joined.is_some() {
                steps.next();
            }
            set = self.step(&set, joined.as_ref().unwrap_or(step))?;
        }
        Ok(set)
    }

    fn step(&mut self, from: &[NodeId], step: &Step) -> Result<Vec<NodeId>, ExtractError> {
        let mut out = Vec::new();
        let mut compacted = 0;
        for node in from {
            let mut reached = self.axis(*node, step.axis, &step.test)?;
            for predicate in &step.predicates {
                reached = self.filtered(reached, predicate)?;
            }
            out.append(&mut reached);
            if out.len() > compacted * 2 + GATHERED_MAX {
                out = sorted(out);
                compacted = out.len();
            }
        }
        Ok(sorted(out))
    }

    /// The nodes for which a predicate holds, given their positions.
    fn filtered(&mut self, nodes: Vec<NodeId>, predicate: &Expr) -> Result<Vec<NodeId>, ExtractError> {
        // The most common predicate needs no evaluation.
        if let Expr::Number(number) = predicate {
            let wanted = nodes.iter().enumerate().find(|(n, _)| position(*n) == *number);
            return Ok(wanted.map(|(_, node)| *node).into_iter().collect());
        }
        let size = nodes.len();
        let mut out = Vec::new();
        for (n, node) in nodes.into_iter().enumerate() {
            let value = self.eval(predicate, Place { node, position: n + 1, size })?;
            let holds =
                if let Value::Number(number) = value { position(n) == number } else { value.is_true() };
            if holds {
                out.push(node);
            }
        }
        Ok(out)
    }

    fn binary(
        &mut self,
        left: &Expr,
        operator: Operator,
        right: &Expr,
        at: Place,
    ) -> Result<Value, ExtractError> {
        let arithmetic = |operation: fn(f64, f64) -> f64, eval: &mut Self| {
            let (left, right) = (eval.number(left, at)?, eval.number(right, at)?);
            Ok(Value::Number(operation(left, right)))
        };
        match operator {
            Operator::Or => {
                Ok(Value::Truth(self.eval(left, at)?.is_true() || self.eval(right, at)?.is_true()))
            }
            Operator::And => {
                Ok(Value::Truth(self.eval(left, at)?.is_true() && self.eval(right, at)?.is_true()))
            }
            Operator::Add => arithmetic(|left, right| left + right, self),
            Operator::Subtract => arithmetic(|left, right| left - right, self),
            Operator::Multiply => arithmetic(|left, right| left * right, self),
            Operator::Divide => arithmetic(|left, right| left / right, self),
            Operator::Remainder => arithmetic(|left, right| left % right, self),
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => {
                let (left, right) = (self.eval(left, at)?, self.eval(right, at)?);
                self.compare(&left, operator, &right).map(Value::Truth)
            }
        }
    }

    /// Comparison (XPath 1.0, section 3.4). A comparison with a set holds if it holds for any of its nodes.
    fn compare(&mut self, left: &Value, operator: Operator, right: &Value) -> Result<bool, ExtractError> {
        // A set compared with a boolean is a boolean. Texts and numbers are booleans in a test for equality;
        // the other operators compare numbers.
        if let (Value::Truth(_), _) | (_, Value::Truth(_)) = (left, right) {
            let is_order = !matches!(operator, Operator::Equal | Operator::NotEqual);
            let side = |value: &Value| match value {
                Value::Number(number) if is_order => Plain::Number(*number),
                Value::Text(text) if is_order => Plain::Number(number_of(text)),
                Value::Nodes(_) | Value::Text(_) | Value::Number(_) | Value::Truth(_) => {
                    Plain::Truth(value.is_true())
                }
            };
            return Ok(side(left).compares(operator, side(right)));
        }
        // The texts of a set may be far larger than the page, because nested nodes repeat their text.
        let held = match (left, right) {
            (Value::Nodes(_), Value::Nodes(set)) => self.texts(set)?,
            _ => Vec::new(),
        };
        match (left, right) {
            (Value::Nodes(set), other) => {
                for node in set {
                    let text = self.string(*node)?;
                    for right in plain(other, &held) {
                        self.look()?;
                        if Plain::Text(&text).compares(operator, right) {
                            return Ok(true);
                        }
                    }
                }
                Ok(false)
            }
            (other, Value::Nodes(set)) => {
                for node in set {
                    let text = self.string(*node)?;
                    if plain(other, &held).any(|left| left.compares(operator, Plain::Text(&text))) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (left, right) => Ok(plain(left, &held)
                .any(|left| plain(right, &held).any(|right| left.compares(operator, right)))),
        }
    }

    /// The string values of a set, within the limit.
    fn texts(&mut self, set: &[NodeId]) -> Result<Vec<Cow<'p, str>>, ExtractError> {
        let (mut texts, mut bytes) = (Vec::with_capacity(set.len()), 0);
        for node in set {
            let text = self.string(*node)?;
            bytes += text.len();
            if bytes > FOUND_BYTES_MAX {
                return Err(ExtractError::TooMuch { limit_bytes: FOUND_BYTES_MAX });
            }
            texts.push(text);
        }
        Ok(texts)
    }
}

/// The single value of an expression, or the texts of a set.
fn plain<'t>(value: &'t Value, texts: &'t [Cow<'_, str>]) -> impl Iterator<Item = Plain<'t>> {
    let one = match value {
        Value::Nodes(_) => None,
        Value::Text(text) => Some(Plain::Text(text)),
        Value::Number(number) => Some(Plain::Number(*number)),
        Value::Truth(truth) => Some(Plain::Truth(*truth)),
    };
    one.into_iter().chain(texts.iter().map(|text| Plain::Text(text)))
}

/// A value that is not a set.
#[derive(Debug, Clone, Copy)]
enum Plain<'t> {
    Text(&'t str),
    Number(f64),
    Truth(bool),
}

impl Plain<'_> {
    fn number(self) -> f64 {
        match self {
            Self::Text(text) => number_of(text),
            Self::Number(number) => number,
            Self::Truth(truth) => f64::from(u8::from(truth)),
        }
    }

    fn compares(self, operator: Operator, other: Self) -> bool {
        let is_equal = || match (self, other) {
            (Self::Text(left), Self::Text(right)) => left == right,
            (Self::Truth(left), Self::Truth(right)) => left == right,
            (left, right) => left.number() == right.number(),
        };
        match operator {
            Operator::Equal => is_equal(),
            Operator::NotEqual => !is_equal(),
            Operator::Less => self.number() < other.number(),
            Operator::LessOrEqual => self.number() <= other.number(),
            Operator::Greater => self.number() > other.number(),
            Operator::GreaterOrEqual => self.number() >= other.number(),
            Operator::Or
            | Operator::And
            | Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => false,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a page has fewer nodes than a float has whole numbers")]
fn position(n: usize) -> f64 {
    (n + 1) as f64
}

fn is_anything_below(step: &Step) -> bool {
    step.axis == Axis::DescendantOrSelf && step.test == NodeTest::Node && step.predicates.is_empty()
}

/// Sorts nodes in document order and removes duplicates.
fn sorted(mut set: Vec<NodeId>) -> Vec<NodeId> {
    if !set.is_sorted() {
        set.sort_unstable();
    }
    set.dedup();
    set
}
