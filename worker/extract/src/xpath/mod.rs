//! XPath over the tree engine's trees.
//!
//! The nodes of a page are numbered once, in document order ([`Nodes`]). From then on,
//! a node is a number, a set of nodes is a sorted list of numbers, and the descendants of
//! a node are a range. Each visited node counts towards the page's deadline.

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

/// A compiled expression, and whether to take every match.
pub(crate) struct XPath {
    expr: Expr,
    every: bool,
}

impl XPath {
    pub(crate) fn new(text: &str, every: bool) -> Result<Self, Rejected> {
        let expr = xpath::parse(text).map_err(|error| Rejected::XPath(text.to_owned(), error))?;
        Ok(Self { expr, every })
    }

    /// The value of the expression for a page.
    pub(crate) fn of_page(
        &self,
        nodes: &Nodes<'_>,
        found: &mut Found,
        around: Around<'_>,
    ) -> Result<FieldValue, ExtractError> {
        self.at(nodes, NodeId::ROOT, found, around)
    }

    /// The value of the expression, evaluated at an element.
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

    /// The elements that the expression selects in a page; other nodes cannot be items.
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

/// The value of a node: the text of an element is trimmed, links are made absolute, the rest is unchanged.
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

/// JSON has no form for a number that is not finite. A number without a fraction is written as a whole number.
fn of_number(number: f64) -> FieldValue {
    /// Whole numbers are exact up to this one.
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
