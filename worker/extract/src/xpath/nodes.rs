//! A page's nodes, numbered in document order.

use std::borrow::Cow;
use std::collections::HashMap;

use html5ever::{QualName, ns};
use scraper::{ElementRef, Node};

use crate::ExtractError;
use crate::document::{Document, Language};
use crate::found::Deadline;

/// Nodes numbered between two checks of the deadline.
const NODES_PER_LOOK: usize = 1024;

/// A node of the page, or an attribute of one. They sort in document order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId {
    /// The node, or the attribute's element.
    pub(super) place: u32,
    /// 0 for the node itself; for an attribute, its position in its element, from 1.
    pub(super) attribute: u32,
}

impl NodeId {
    /// The document.
    pub(super) const ROOT: Self = Self::node(0);

    pub(super) const fn node(place: u32) -> Self {
        Self { place, attribute: 0 }
    }
}

/// The type of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Root,
    Element,
    Text,
    Comment,
    Attribute,
    Instruction,
    /// A doctype, which XPath does not have.
    Other,
}

struct Entry<'p> {
    node: ego_tree::NodeRef<'p, Node>,
    parent: u32,
    /// The position after the last descendant.
    end: u32,
}

/// The nodes of a page.
pub(crate) struct Nodes<'p> {
    entries: Vec<Entry<'p>>,
    places: HashMap<ego_tree::NodeId, u32>,
    language: Language,
}

impl<'p> Nodes<'p> {
    /// Numbers a page's nodes.
    pub(crate) fn of(page: &'p Document, deadline: &Deadline) -> Result<Self, ExtractError> {
        use ego_tree::iter::Edge;
        let mut entries: Vec<Entry<'p>> = Vec::new();
        let mut places = HashMap::new();
        let mut open: Vec<u32> = Vec::new();
        for edge in page.html.tree.root().traverse() {
            match edge {
                Edge::Open(node) => {
                    if entries.len().is_multiple_of(NODES_PER_LOOK) {
                        deadline.check()?;
                    }
                    let place = u32::try_from(entries.len()).unwrap_or(u32::MAX);
                    entries.push(Entry { node, parent: open.last().copied().unwrap_or(0), end: place + 1 });
                    if node.value().is_element() {
                        places.insert(node.id(), place);
                    }
                    open.push(place);
                }
                Edge::Close(_) => {
                    let end = u32::try_from(entries.len()).unwrap_or(u32::MAX);
                    if let Some(entry) = open.pop().and_then(|place| entries.get_mut(place as usize)) {
                        entry.end = end;
                    }
                }
            }
        }
        Ok(Self { entries, places, language: page.language })
    }

    fn entry(&self, node: NodeId) -> Option<&Entry<'p>> {
        self.entries.get(node.place as usize)
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn place(&self, element: ElementRef<'_>) -> Option<NodeId> {
        self.places.get(&element.id()).copied().map(NodeId::node)
    }

    pub(super) fn element(&self, node: NodeId) -> Option<ElementRef<'p>> {
        if node.attribute > 0 {
            return None;
        }
        ElementRef::wrap(self.entry(node)?.node)
    }

    pub(super) fn kind(&self, node: NodeId) -> Kind {
        if node.attribute > 0 {
            return Kind::Attribute;
        }
        match self.entry(node).map(|entry| entry.node.value()) {
            Some(Node::Document | Node::Fragment) => Kind::Root,
            Some(Node::Element(_)) => Kind::Element,
            Some(Node::Text(_)) => Kind::Text,
            Some(Node::Comment(_)) => Kind::Comment,
            Some(Node::ProcessingInstruction(_)) => Kind::Instruction,
            Some(Node::Doctype(_)) | None => Kind::Other,
        }
    }

    /// The parent of a node; none for the document.
    pub(super) fn parent(&self, node: NodeId) -> Option<NodeId> {
        if node.attribute > 0 {
            return Some(NodeId::node(node.place));
        }
        if node.place == 0 { None } else { self.entry(node).map(|entry| NodeId::node(entry.parent)) }
    }

    /// The position after a node's descendants.
    pub(super) fn end(&self, node: NodeId) -> u32 {
        self.entry(node).map_or(node.place, |entry| entry.end)
    }

    pub(super) fn attributes(&self, node: NodeId) -> u32 {
        let of_element =
            |entry: &Entry<'p>| entry.node.value().as_element().map_or(0, |element| element.attrs.len());
        if node.attribute > 0 {
            return 0;
        }
        self.entry(node).map_or(0, |entry| u32::try_from(of_element(entry)).unwrap_or(u32::MAX))
    }

    fn attribute(&self, node: NodeId) -> Option<(&'p html5ever::QualName, &'p str)> {
        let element = self.entry(node)?.node.value().as_element()?;
        let n = (node.attribute as usize).checked_sub(1)?;
        element.attrs.iter().nth(n).map(|(name, value)| (name, &**value))
    }

    /// The name of an element or attribute; other nodes have none.
    fn qualified_name(&self, node: NodeId) -> Option<&'p QualName> {
        if node.attribute > 0 {
            return self.attribute(node).map(|(name, _)| name);
        }
        self.entry(node).and_then(|entry| entry.node.value().as_element()).map(|element| &element.name)
    }

    /// The local name of an element or attribute, or the target of an instruction.
    pub(super) fn name(&self, node: NodeId) -> &'p str {
        if self.kind(node) == Kind::Instruction {
            return self.instruction(node).map_or("", |one| &one.target);
        }
        self.qualified_name(node).map_or("", |name| &name.local)
    }

    /// The name with its prefix.
    pub(super) fn full_name(&self, node: NodeId) -> String {
        match self.qualified_name(node).and_then(|name| name.prefix.as_ref()) {
            Some(prefix) => format!("{prefix}:{}", self.name(node)),
            None => self.name(node).to_owned(),
        }
    }

    /// The namespace of an element or attribute.
    pub(super) fn namespace(&self, node: NodeId) -> &'p str {
        self.qualified_name(node).map_or("", |name| &name.ns)
    }

    /// Whether an attribute declares a namespace. XPath does not count these as attributes.
    pub(super) fn is_declaration(&self, node: NodeId) -> bool {
        self.attribute(node).is_some_and(|(name, _)| name.ns == ns!(xmlns))
    }

    /// Whether an element or attribute has this name. Case is ignored where HTML
    /// ignores it: a parsed page has its names in lower case.
    pub(super) fn is_called(&self, node: NodeId, name: &str) -> bool {
        let own = self.name(node);
        let folds_case =
            self.element(NodeId::node(node.place)).is_some_and(|element| self.language.folds_case(element));
        if folds_case { own.eq_ignore_ascii_case(name) } else { own == name }
    }

    fn instruction(&self, node: NodeId) -> Option<&'p scraper::node::ProcessingInstruction> {
        self.entry(node)?.node.value().as_processing_instruction()
    }

    /// The value of an attribute of an element.
    pub(super) fn attribute_of(&self, node: NodeId, name: &str) -> Option<&'p str> {
        self.language.attribute(self.element(node)?, name)
    }

    /// The string value of a node.
    pub(super) fn string(&self, node: NodeId) -> Cow<'p, str> {
        match self.kind(node) {
            Kind::Attribute => Cow::Borrowed(self.attribute(node).map_or("", |(_, value)| value)),
            Kind::Text => {
                Cow::Borrowed(self.entry(node).and_then(|entry| text_of(entry.node)).unwrap_or_default())
            }
            Kind::Comment => {
                let comment = self.entry(node).and_then(|entry| entry.node.value().as_comment());
                Cow::Borrowed(comment.map_or("", |comment| &**comment))
            }
            Kind::Instruction => Cow::Borrowed(self.instruction(node).map_or("", |one| &one.data)),
            Kind::Other => Cow::Borrowed(""),
            Kind::Root | Kind::Element => {
                let below =
                    self.entries.get(node.place as usize..self.end(node) as usize).unwrap_or_default();
                let mut texts = below.iter().filter_map(|entry| text_of(entry.node));
                let first = texts.next().unwrap_or_default();
                match texts.next() {
                    None => Cow::Borrowed(first),
                    Some(second) => {
                        let mut all = [first, second].concat();
                        all.extend(texts);
                        Cow::Owned(all)
                    }
                }
            }
        }
    }
}

fn text_of<'p>(node: ego_tree::NodeRef<'p, Node>) -> Option<&'p str> {
    node.value().as_text().map(|text| &**text)
}
