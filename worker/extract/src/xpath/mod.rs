//! XPath over the tree engine's trees.
//!
//! A page is numbered once, in the order of the document ([`Nodes`]); from then on
//! a node is a number, a set of nodes a sorted list of numbers, and what is below
//! a node a range. Every node looked at is counted against the page's time.

mod axes;
mod eval;
mod functions;
mod nodes;
mod value;

use scraper::ElementRef;
use select::is_link;
use select::xpath::{self, Expr};
use wire::record::FieldValue;

use crate::found::{Found, trimmed};
use crate::steps::Around;
use crate::{ExtractError, Rejected};
use eval::Eval;
pub(crate) use nodes::Nodes;
use nodes::{Kind, NodeId};
use value::Value;

/// An expression, and whether all it finds is wanted.
pub(crate) struct XPath {
    expr: Expr,
    every: bool,
}

impl XPath {
    pub(crate) fn new(text: &str, every: bool) -> Result<Self, Rejected> {
        let expr = xpath::parse(text).map_err(|error| Rejected::XPath(text.to_owned(), error))?;
        Ok(Self { expr, every })
    }

    /// What it finds in a page.
    pub(crate) fn of_page(
        &self,
        nodes: &Nodes<'_>,
        found: &mut Found,
        around: Around<'_>,
    ) -> Result<FieldValue, ExtractError> {
        self.at(nodes, NodeId::ROOT, found, around)
    }

    /// What it finds when it starts at an element.
    pub(crate) fn below(
        &self,
        nodes: &Nodes<'_>,
        element: ElementRef<'_>,
        found: &mut Found,
        around: Around<'_>,
    ) -> Result<FieldValue, ExtractError> {
        match nodes.place(element) {
            Some(node) => self.at(nodes, node, found, around),
            None => Ok(FieldValue::Null),
        }
    }

    /// The elements that it finds in a page; other nodes cannot be items.
    pub(crate) fn elements<'p>(
        &self,
        nodes: &Nodes<'p>,
        around: Around<'_>,
    ) -> Result<Vec<ElementRef<'p>>, ExtractError> {
        Ok(match Eval::new(nodes, around.deadline).run(&self.expr, NodeId::ROOT)? {
            Value::Nodes(set) => set.into_iter().filter_map(|node| nodes.element(node)).collect(),
            Value::Text(_) | Value::Number(_) | Value::Truth(_) => Vec::new(),
        })
    }

    fn at(
        &self,
        nodes: &Nodes<'_>,
        from: NodeId,
        found: &mut Found,
        around: Around<'_>,
    ) -> Result<FieldValue, ExtractError> {
        let one = match Eval::new(nodes, around.deadline).run(&self.expr, from)? {
            Value::Nodes(set) => {
                let wanted = if self.every { set.len() } else { 1 };
                let mut values = Vec::with_capacity(wanted.min(set.len()));
                for node in set.into_iter().take(wanted) {
                    around.deadline.check()?;
                    let value = taken(nodes, node, around);
                    found.grow(value.len())?;
                    values.push(FieldValue::Text(value));
                }
                return Ok(if self.every {
                    FieldValue::List(values)
                } else {
                    values.pop().unwrap_or(FieldValue::Null)
                });
            }
            Value::Text(text) => {
                found.grow(text.len())?;
                FieldValue::Text(text)
            }
            Value::Number(number) => of_number(number),
            Value::Truth(truth) => FieldValue::Json(truth.into()),
        };
        Ok(if self.every { FieldValue::List(vec![one]) } else { one })
    }
}

/// A node as a field has it: the text of elements trimmed, links made absolute, the rest as it is.
fn taken(nodes: &Nodes<'_>, node: NodeId, around: Around<'_>) -> String {
    let text = nodes.string(node);
    match nodes.kind(node) {
        Kind::Root | Kind::Element => trimmed(&text).to_owned(),
        Kind::Attribute if nodes.namespace(node).is_empty() && is_link(nodes.name(node)) => {
            around.links.resolve(&text)
        }
        Kind::Attribute | Kind::Text | Kind::Comment | Kind::Instruction | Kind::Other => text.into_owned(),
    }
}

/// JSON has no number that is not finite; one without a fraction is whole.
fn of_number(number: f64) -> FieldValue {
    /// Whole numbers are exact up to here.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if !number.is_finite() {
        FieldValue::Null
    } else if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and far below what an i64 holds")]
        FieldValue::Int(number as i64)
    } else {
        FieldValue::Float(number)
    }
}
