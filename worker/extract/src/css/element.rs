//! Questions about an element and its ancestors, shared by several pseudo-classes.

use html5ever::ns;
use scraper::ElementRef;

pub(super) fn is_html(element: ElementRef<'_>) -> bool {
    element.value().name.ns == ns!(html)
}

/// Whether an element of HTML has one of these names.
pub(super) fn is_any_of(element: ElementRef<'_>, names: &[&str]) -> bool {
    is_html(element) && names.contains(&element.value().name())
}

pub(super) fn has(element: ElementRef<'_>, attribute: &str) -> bool {
    element.attr(attribute).is_some()
}

/// An element and its ancestors, innermost first.
pub(super) fn upwards(element: ElementRef<'_>) -> impl Iterator<Item = ElementRef<'_>> {
    std::iter::once(element).chain(element.ancestors().filter_map(ElementRef::wrap))
}
