//! A page as a tree, and the sink through which a parser builds it.
//!
//! The nodes are scraper's. This sink adds what scraper's own sink lacks: the contents of a
//! `<template>` are a separate tree (HTML 4.12.3), and `annotation-xml` may contain HTML.

use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};
use std::collections::{HashMap, HashSet};

use ego_tree::{NodeId, NodeRef};
use html5ever::tendril::StrTendril;
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::{Attribute, QualName, local_name, ns};
use scraper::{ElementRef, Html, HtmlTreeSink, Node};

use crate::facts::Facts;

/// A page as a tree.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) html: Html,
    pub(crate) language: Language,
    pub(crate) facts: Box<Facts>,
    /// The root of the contents of each `<template>`, which no traversal of the page reaches.
    templates: HashMap<NodeId, NodeId>,
}

/// The language of a page. Names are case-insensitive in HTML, case-sensitive in XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Html,
    Xml,
}

impl Document {
    /// The elements of the page in document order.
    pub(crate) fn elements(&self) -> impl Iterator<Item = ElementRef<'_>> {
        // `Html::select` uses the order of creation. That is not document order once the parser has
        // moved content out of a table.
        self.html.tree.root().descendants().filter_map(ElementRef::wrap)
    }

    /// The contents of a `<template>`.
    pub(crate) fn template_contents(&self, element: NodeId) -> Option<NodeRef<'_, Node>> {
        self.html.tree.get(*self.templates.get(&element)?)
    }
}

impl Language {
    /// Whether the names of this element and its attributes are matched without regard to case.
    pub(crate) fn folds_case(self, element: ElementRef<'_>) -> bool {
        self == Self::Html && element.value().name.ns == ns!(html)
    }

    /// The value of an attribute by its qualified name, as returned by the DOM's `getAttribute`.
    pub(crate) fn attribute<'p>(self, element: ElementRef<'p>, name: &str) -> Option<&'p str> {
        let folds = self.folds_case(element);
        let attributes = element.value().attrs.iter();
        attributes.filter(|(own, _)| is_called(own, name, folds)).map(|(_, value)| &**value).next()
    }
}

/// Whether `name` is the qualified name of an element or attribute.
pub(crate) fn is_called(own: &QualName, name: &str, folds_case: bool) -> bool {
    let local = match &own.prefix {
        None => Some(name),
        Some(prefix) => name.strip_prefix(&**prefix).and_then(|rest| rest.strip_prefix(':')),
    };
    let own: &str = &own.local;
    local.is_some_and(|local| if folds_case { own.eq_ignore_ascii_case(local) } else { own == local })
}

/// Builds a [`Document`].
pub(crate) struct Sink {
    nodes: HtmlTreeSink,
    language: Language,
    templates: RefCell<HashMap<NodeId, NodeId>>,
    /// `annotation-xml` elements whose content is HTML.
    holds_html: RefCell<HashSet<NodeId>>,
    /// Whether the element created last is a `<meta>`.
    is_at_meta: Cell<bool>,
}

impl Sink {
    pub(crate) fn new(language: Language) -> Self {
        Self {
            nodes: HtmlTreeSink::new(Html::new_document()),
            language,
            templates: RefCell::default(),
            holds_html: RefCell::default(),
            is_at_meta: Cell::new(false),
        }
    }

    /// Whether the parser has just created a `<meta>`, the only element that may declare a page's encoding.
    pub(crate) fn is_at_meta(&self) -> bool {
        self.is_at_meta.get()
    }

    /// Detaches the contents of a new `<template>` from the tree.
    fn part_template(&self, template: NodeId) {
        let mut page = self.nodes.0.borrow_mut();
        let contents = page.tree.get(template).and_then(|node| node.first_child()).map(|first| first.id());
        if let Some(contents) = contents
            && let Some(mut root) = page.tree.get_mut(contents)
        {
            root.detach();
            self.templates.borrow_mut().insert(template, contents);
        }
    }
}

impl TreeSink for Sink {
    type Handle = NodeId;
    type Output = Document;
    type ElemName<'a> = Ref<'a, QualName>;

    fn finish(self) -> Document {
        let (html, templates) = (self.nodes.finish(), self.templates.into_inner());
        Document { html, language: self.language, facts: Box::default(), templates }
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> NodeId {
        self.nodes.get_document()
    }

    fn elem_name<'a>(&'a self, target: &'a NodeId) -> Ref<'a, QualName> {
        self.nodes.elem_name(target)
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, flags: ElementFlags) -> NodeId {
        self.is_at_meta.set(name.local == local_name!("meta"));
        let (is_template, holds_html) = (flags.template, flags.mathml_annotation_xml_integration_point);
        let element = self.nodes.create_element(name, attributes, flags);
        if is_template {
            self.part_template(element);
        }
        if holds_html {
            self.holds_html.borrow_mut().insert(element);
        }
        element
    }

    fn create_comment(&self, text: StrTendril) -> NodeId {
        self.nodes.create_comment(text)
    }

    fn create_pi(&self, target: StrTendril, data: StrTendril) -> NodeId {
        self.nodes.create_pi(target, data)
    }

    fn append(&self, parent: &NodeId, child: NodeOrText<NodeId>) {
        self.nodes.append(parent, child);
    }

    fn append_based_on_parent_node(&self, element: &NodeId, previous: &NodeId, child: NodeOrText<NodeId>) {
        self.nodes.append_based_on_parent_node(element, previous, child);
    }

    fn append_doctype_to_document(&self, name: StrTendril, public: StrTendril, system: StrTendril) {
        self.nodes.append_doctype_to_document(name, public, system);
    }

    fn get_template_contents(&self, target: &NodeId) -> NodeId {
        self.templates.borrow().get(target).copied().unwrap_or(*target)
    }

    fn same_node(&self, left: &NodeId, right: &NodeId) -> bool {
        left == right
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.nodes.set_quirks_mode(mode);
    }

    fn append_before_sibling(&self, sibling: &NodeId, new: NodeOrText<NodeId>) {
        self.nodes.append_before_sibling(sibling, new);
    }

    fn add_attrs_if_missing(&self, target: &NodeId, attributes: Vec<Attribute>) {
        self.nodes.add_attrs_if_missing(target, attributes);
    }

    fn remove_from_parent(&self, target: &NodeId) {
        self.nodes.remove_from_parent(target);
    }

    fn reparent_children(&self, node: &NodeId, parent: &NodeId) {
        self.nodes.reparent_children(node, parent);
    }

    fn is_mathml_annotation_xml_integration_point(&self, element: &NodeId) -> bool {
        self.holds_html.borrow().contains(element)
    }
}
