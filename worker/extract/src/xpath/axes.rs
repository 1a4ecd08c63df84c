//! The nodes on each axis, nearest first.

use select::xpath::{Axis, NodeTest};

use super::eval::Eval;
use super::nodes::{Kind, NodeId};
use crate::ExtractError;

impl Eval<'_, '_> {
    /// The nodes on an axis that pass a test, in the order of the axis.
    pub(super) fn axis(
        &mut self,
        from: NodeId,
        axis: Axis,
        test: &NodeTest,
    ) -> Result<Vec<NodeId>, ExtractError> {
        let mut out = Vec::new();
        match axis {
            Axis::Itself => self.test(from, axis, test, &mut out)?,
            Axis::Parent => {
                if let Some(parent) = self.nodes.parent(from) {
                    self.test(parent, axis, test, &mut out)?;
                }
            }
            Axis::Ancestor | Axis::AncestorOrSelf => {
                let mut next = if axis == Axis::Ancestor { self.nodes.parent(from) } else { Some(from) };
                while let Some(node) = next {
                    self.test(node, axis, test, &mut out)?;
                    next = self.nodes.parent(node);
                }
            }
            Axis::Attribute => {
                for attribute in 1..=self.nodes.attributes(from) {
                    let attribute = NodeId { place: from.place, attribute };
                    if !self.nodes.is_declaration(attribute) {
                        self.test(attribute, axis, test, &mut out)?;
                    }
                }
            }
            Axis::Child => self.siblings(from.place + 1, self.below(from), axis, test, &mut out)?,
            Axis::DescendantOrSelf | Axis::Descendant => {
                if axis == Axis::DescendantOrSelf {
                    self.test(from, axis, test, &mut out)?;
                }
                for place in from.place + 1..self.below(from) {
                    self.test(NodeId::node(place), axis, test, &mut out)?;
                }
            }
            Axis::Following => {
                // After an attribute come the content of its element and everything behind the element.
                let start = if from.attribute > 0 { from.place + 1 } else { self.nodes.end(from) };
                for place in start..self.nodes.len() {
                    self.test(NodeId::node(place), axis, test, &mut out)?;
                }
            }
            Axis::Preceding => {
                for place in (1..from.place).rev() {
                    let node = NodeId::node(place);
                    // The elements that contain it end after it.
                    if self.nodes.end(node) <= from.place {
                        self.test(node, axis, test, &mut out)?;
                    } else {
                        self.look()?;
                    }
                }
            }
            Axis::FollowingSibling | Axis::PrecedingSibling => self.besides(from, axis, test, &mut out)?,
        }
        Ok(out)
    }

    /// The position after a node's descendants; an attribute has none.
    fn below(&self, node: NodeId) -> u32 {
        if node.attribute > 0 { node.place } else { self.nodes.end(node) }
    }

    fn besides(
        &mut self,
        from: NodeId,
        axis: Axis,
        test: &NodeTest,
        out: &mut Vec<NodeId>,
    ) -> Result<(), ExtractError> {
        let parent = if from.attribute > 0 { None } else { self.nodes.parent(from) };
        let Some(parent) = parent else { return Ok(()) };
        if axis == Axis::FollowingSibling {
            return self.siblings(self.nodes.end(from), self.nodes.end(parent), axis, test, out);
        }
        self.siblings(parent.place + 1, from.place, axis, test, out)?;
        out.reverse();
        Ok(())
    }

    /// Sibling nodes between two positions.
    fn siblings(
        &mut self,
        from: u32,
        to: u32,
        axis: Axis,
        test: &NodeTest,
        out: &mut Vec<NodeId>,
    ) -> Result<(), ExtractError> {
        let mut place = from;
        while place < to {
            let node = NodeId::node(place);
            self.test(node, axis, test, out)?;
            place = self.nodes.end(node).max(place + 1);
        }
        Ok(())
    }

    fn test(
        &mut self,
        node: NodeId,
        axis: Axis,
        test: &NodeTest,
        out: &mut Vec<NodeId>,
    ) -> Result<(), ExtractError> {
        self.look()?;
        let kind = self.nodes.kind(node);
        let is_named = kind == if axis == Axis::Attribute { Kind::Attribute } else { Kind::Element };
        let passes = match test {
            NodeTest::Name(name) => is_named && self.nodes.is_called(node, name),
            NodeTest::AnyName => is_named,
            NodeTest::Node => kind != Kind::Other,
            NodeTest::Text => kind == Kind::Text,
            NodeTest::Comment => kind == Kind::Comment,
            NodeTest::Instruction(target) => {
                let is_wanted = |target: &String| self.nodes.name(node) == target;
                kind == Kind::Instruction && target.as_ref().is_none_or(is_wanted)
            }
        };
        if passes {
            out.push(node);
        }
        Ok(())
    }
}
