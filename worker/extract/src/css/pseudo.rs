//! Pseudo-classes that depend on the page only (HTML 4.16.3, Selectors 4).

use html5ever::{local_name, ns};
use scraper::ElementRef;
use select::css::{Plain, PseudoClass};

use super::control::{self, Kind};
use super::element::{has, is_any_of, is_html, upwards};
use super::{direction, validity};
use crate::document::Document;

/// Whether an element is in the state that a pseudo-class names.
pub(super) fn matches(page: &Document, element: ElementRef<'_>, wanted: &PseudoClass) -> bool {
    match wanted {
        PseudoClass::Plain(plain) => is(page, element, *plain),
        PseudoClass::Lang(ranges) => {
            language(page, element).is_some_and(|own| ranges.iter().any(|range| speaks(range, own)))
        }
        PseudoClass::Dir(wanted) => direction::of(page, element) == *wanted,
        PseudoClass::Heading(levels) => {
            heading(element).is_some_and(|level| levels.is_empty() || levels.contains(&level))
        }
        PseudoClass::Never(_) => false,
    }
}

fn is(page: &Document, element: ElementRef<'_>, wanted: Plain) -> bool {
    match wanted {
        Plain::Link | Plain::AnyLink => is_link(element),
        Plain::Defined => !is_html(element) || !element.value().name().contains('-'),
        // The others match elements of HTML only.
        _ if !is_html(element) => false,
        Plain::Open => has(element, "open") && is_any_of(element, &["details", "dialog"]),
        Plain::Muted => has(element, "muted") && is_any_of(element, &["audio", "video"]),
        // Nothing plays on a saved page.
        Plain::Paused => is_any_of(element, &["audio", "video"]),
        Plain::ReadOnly => !control::is_writable(element),
        Plain::ReadWrite => control::is_writable(element),
        Plain::Checked => control::is_checked(page, element),
        Plain::Default => control::is_default(page, element),
        Plain::Indeterminate => control::is_indeterminate(page, element),
        Plain::Disabled => control::is_disabled(element),
        Plain::Enabled => control::can_be_disabled(element) && !control::is_disabled(element),
        Plain::Required => Kind::of(element).can_be_required() && has(element, "required"),
        Plain::Optional => Kind::of(element).can_be_required() && !has(element, "required"),
        Plain::PlaceholderShown => {
            let has_text = element.attr("placeholder").is_some_and(|text| !text.is_empty());
            Kind::of(element).has_placeholder() && has_text && control::is_blank(element)
        }
        Plain::Blank => Kind::of(element).is_written_in() && control::is_blank(element),
        Plain::InRange => validity::is_in_range(element) == Some(true),
        Plain::OutOfRange => validity::is_in_range(element) == Some(false),
        Plain::Valid => validity::is_valid(page, element) == Some(true),
        Plain::Invalid => validity::is_valid(page, element) == Some(false),
    }
}

/// Whether an element is a hyperlink.
pub(super) fn is_link(element: ElementRef<'_>) -> bool {
    let name = &element.value().name;
    match name.ns {
        ns!(html) => matches!(name.local, local_name!("a") | local_name!("area")) && has(element, "href"),
        // SVG allows `href` with and without the XLink namespace.
        ns!(svg) => {
            let mut attributes = element.value().attrs.keys();
            name.local == local_name!("a")
                && attributes
                    .any(|own| own.local == local_name!("href") && matches!(own.ns, ns!() | ns!(xlink)))
        }
        _ => false,
    }
}

fn heading(element: ElementRef<'_>) -> Option<i32> {
    let level = element.value().name().strip_prefix('h')?.parse().ok()?;
    (is_html(element) && (1..=6).contains(&level)).then_some(level)
}

/// The language of an element: its own, that of an ancestor, or the page's default from `<meta>`.
fn language<'p>(page: &'p Document, element: ElementRef<'p>) -> Option<&'p str> {
    for around in upwards(element) {
        let attributes = &around.value().attrs;
        let of = |wanted: &html5ever::Namespace| {
            let mut found = attributes.iter().filter(|(name, _)| name.ns == *wanted);
            found.find(|(name, _)| name.local == local_name!("lang")).map(|(_, value)| &**value)
        };
        if let Some(own) = of(&ns!(xml)).or_else(|| of(&ns!())) {
            return Some(own);
        }
    }
    page.facts.language.get_or_init(|| language_of_page(page)).as_deref()
}

fn language_of_page(page: &Document) -> Option<String> {
    let mut metas = page.elements().filter(|one| is_any_of(*one, &["meta"]));
    let said = metas.find_map(|meta| {
        let kind = meta.attr("http-equiv")?;
        let is_language = kind.eq_ignore_ascii_case("content-language");
        meta.attr("content").filter(|content| is_language && !content.contains(','))
    })?;
    said.split_ascii_whitespace().next().map(str::to_owned)
}

/// Whether a language range matches a language (RFC 4647, extended filtering).
fn speaks(range: &str, language: &str) -> bool {
    if range.is_empty() || language.is_empty() {
        return range == language;
    }
    let mut tags = language.split('-');
    let mut wanted = range.split('-');
    let is = |wanted: &str, tag: &str| wanted == "*" || wanted.eq_ignore_ascii_case(tag);
    if !wanted.next().zip(tags.next()).is_some_and(|(wanted, tag)| is(wanted, tag)) {
        return false;
    }
    for wanted in wanted.filter(|wanted| *wanted != "*") {
        loop {
            match tags.next() {
                Some(tag) if tag.eq_ignore_ascii_case(wanted) => break,
                // A range does not match past a singleton, such as `x` for private use.
                Some(tag) if tag.len() > 1 => {}
                Some(_) | None => return false,
            }
        }
    }
    true
}
