//! Matches CSS selectors against the elements of a tree.

mod control;
mod direction;
mod element;
mod pseudo;
mod validity;
mod values;

use std::fmt;

use html5ever::Namespace;
use html5ever::tree_builder::QuirksMode;
use scraper::ElementRef;
use scraper::selector::{CssLocalName, CssString};
use select::css::{self, Css, PseudoClass};
use selectors::attr::{AttrSelectorOperation, CaseSensitivity, NamespaceConstraint};
use selectors::bloom::BloomFilter;
use selectors::context::{
    MatchingContext, MatchingForInvalidation, MatchingMode, NeedsSelectorFlags, SelectorCaches,
};
use selectors::matching::{self, ElementSelectorFlags};
use selectors::{OpaqueElement, SelectorList};

use crate::Rejected;
use crate::document::{Document, is_called};

/// A list of selectors, ready to be matched.
#[derive(Debug, Clone)]
pub(crate) struct Selector(SelectorList<Css>);

impl Selector {
    /// Compiles a list of selectors.
    ///
    /// # Errors
    /// Fails if the text is not CSS; `select` has checked it before.
    pub(crate) fn new(text: &str) -> Result<Self, Rejected> {
        css::selectors(text).map(Self).map_err(|_| Rejected::Css(text.to_owned()))
    }

    /// Whether an element of the page matches. `:scope` is `scope`, or the root element.
    pub(crate) fn matches(
        &self,
        page: &Document,
        element: ElementRef<'_>,
        scope: Option<ElementRef<'_>>,
        caches: &mut SelectorCaches,
    ) -> bool {
        let quirks = match page.html.quirks_mode {
            QuirksMode::Quirks => matching::QuirksMode::Quirks,
            QuirksMode::LimitedQuirks => matching::QuirksMode::LimitedQuirks,
            QuirksMode::NoQuirks => matching::QuirksMode::NoQuirks,
        };
        let mut context = MatchingContext::new(
            MatchingMode::Normal,
            None,
            caches,
            quirks,
            NeedsSelectorFlags::No,
            MatchingForInvalidation::No,
        );
        context.scope_element = scope.map(|scope| OpaqueElement::new(scope.value()));
        let candidate = Candidate { element, page };
        self.0.slice().iter().any(|one| matching::matches_selector(one, 0, None, &candidate, &mut context))
    }
}

/// An element that selectors are matched against.
#[derive(Clone, Copy)]
struct Candidate<'p> {
    element: ElementRef<'p>,
    page: &'p Document,
}

impl<'p> Candidate<'p> {
    fn of(self, element: ElementRef<'p>) -> Self {
        Self { element, ..self }
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.element.fmt(f)
    }
}

impl selectors::Element for Candidate<'_> {
    type Impl = Css;

    fn opaque(&self) -> OpaqueElement {
        OpaqueElement::new(self.element.value())
    }

    fn parent_element(&self) -> Option<Self> {
        self.element.parent().and_then(ElementRef::wrap).map(|parent| self.of(parent))
    }

    fn parent_node_is_shadow_root(&self) -> bool {
        false
    }

    fn containing_shadow_host(&self) -> Option<Self> {
        None
    }

    fn is_pseudo_element(&self) -> bool {
        false
    }

    fn prev_sibling_element(&self) -> Option<Self> {
        self.element.prev_siblings().find_map(ElementRef::wrap).map(|sibling| self.of(sibling))
    }

    fn next_sibling_element(&self) -> Option<Self> {
        self.element.next_siblings().find_map(ElementRef::wrap).map(|sibling| self.of(sibling))
    }

    fn first_element_child(&self) -> Option<Self> {
        self.element.children().find_map(ElementRef::wrap).map(|child| self.of(child))
    }

    fn is_html_element_in_html_document(&self) -> bool {
        self.page.language.folds_case(self.element)
    }

    /// In XML, where other vocabularies may share a local name, `media\:title` is a name as well.
    fn has_local_name(&self, name: &CssLocalName) -> bool {
        let own = &self.element.value().name;
        own.local == name.0 || (own.prefix.is_some() && is_called(own, &name.0, false))
    }

    fn has_namespace(&self, namespace: &Namespace) -> bool {
        self.element.value().name.ns == *namespace
    }

    fn is_same_type(&self, other: &Self) -> bool {
        let (own, other) = (&self.element.value().name, &other.element.value().name);
        own.local == other.local && own.ns == other.ns
    }

    fn attr_matches(
        &self,
        namespace: &NamespaceConstraint<&Namespace>,
        name: &CssLocalName,
        operation: &AttrSelectorOperation<&CssString>,
    ) -> bool {
        self.element.value().attrs.iter().any(|(own, value)| {
            !matches!(*namespace, NamespaceConstraint::Specific(wanted) if *wanted != own.ns)
                && own.local == name.0
                && operation.eval_str(value)
        })
    }

    fn match_non_ts_pseudo_class(
        &self,
        wanted: &PseudoClass,
        _: &mut MatchingContext<'_, Self::Impl>,
    ) -> bool {
        pseudo::matches(self.page, self.element, wanted)
    }

    fn match_pseudo_element(
        &self,
        wanted: &css::PseudoElement,
        _: &mut MatchingContext<'_, Self::Impl>,
    ) -> bool {
        match *wanted {}
    }

    fn apply_selector_flags(&self, _: ElementSelectorFlags) {}

    fn is_link(&self) -> bool {
        pseudo::is_link(self.element)
    }

    fn is_html_slot_element(&self) -> bool {
        false
    }

    fn has_id(&self, id: &CssLocalName, case: CaseSensitivity) -> bool {
        self.element.value().id().is_some_and(|own| case.eq(id.0.as_bytes(), own.as_bytes()))
    }

    fn has_class(&self, name: &CssLocalName, case: CaseSensitivity) -> bool {
        self.element.value().has_class(&name.0, case)
    }

    fn has_custom_state(&self, _: &CssLocalName) -> bool {
        false
    }

    fn imported_part(&self, _: &CssLocalName) -> Option<CssLocalName> {
        None
    }

    fn is_part(&self, _: &CssLocalName) -> bool {
        false
    }

    fn is_empty(&self) -> bool {
        !self.element.children().any(|child| child.value().is_element() || child.value().is_text())
    }

    fn is_root(&self) -> bool {
        self.element.parent().is_some_and(|parent| parent.value().is_document())
    }

    fn add_element_unique_hashes(&self, _: &mut BloomFilter) -> bool {
        false
    }
}
