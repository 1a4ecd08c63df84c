//! The direction of an element's text (HTML 3.2.6.4).

use ego_tree::iter::Edge;
use scraper::{ElementRef, Node};
use select::css::Direction;

use super::control::{Kind, written};
use super::element::{has, is_any_of, is_html, upwards};
use crate::document::Document;

/// The direction of an element.
pub(super) fn of(page: &Document, element: ElementRef<'_>) -> Direction {
    let of_content = |around: ElementRef<'_>| {
        let mut known = page.facts.directions.borrow_mut();
        *known.entry(around.id()).or_insert_with(|| of_content(around))
    };
    for around in upwards(element).filter(|around| is_html(*around)) {
        let said = around.attr("dir").map(str::to_ascii_lowercase);
        match said.as_deref() {
            Some("ltr") => return Direction::Ltr,
            Some("rtl") => return Direction::Rtl,
            Some("auto") => return of_content(around).unwrap_or(Direction::Ltr),
            _ if is_any_of(around, &["bdi"]) => return of_content(around).unwrap_or(Direction::Ltr),
            _ if Kind::of(around) == Kind::Input("tel") => return Direction::Ltr,
            _ => {}
        }
    }
    Direction::Ltr
}

/// The direction of the first letter in an element or control.
fn of_content(element: ElementRef<'_>) -> Option<Direction> {
    if Kind::of(element).is_written_in() {
        return of_text(&written(element));
    }
    let mut skipped = None;
    for edge in element.traverse() {
        match edge {
            Edge::Open(node) if skipped.is_none() => {
                if let Node::Text(text) = node.value()
                    && let Some(direction) = of_text(text)
                {
                    return Some(direction);
                }
                let own = ElementRef::wrap(node).filter(|inner| *inner != element);
                skipped = own.filter(|inner| stands_alone(*inner)).map(|inner| inner.id());
            }
            Edge::Close(node) if skipped == Some(node.id()) => skipped = None,
            Edge::Open(_) | Edge::Close(_) => {}
        }
    }
    None
}

/// Whether an element's text is ignored for the direction of its parent.
fn stands_alone(element: ElementRef<'_>) -> bool {
    is_html(element) && (is_any_of(element, &["bdi", "script", "style", "textarea"]) || has(element, "dir"))
}

fn of_text(text: &str) -> Option<Direction> {
    text.chars().find(|c| c.is_alphabetic()).map(|c| if is_rtl(c) { Direction::Rtl } else { Direction::Ltr })
}

/// The blocks that Unicode reserves for right-to-left scripts.
const fn is_rtl(c: char) -> bool {
    matches!(c,
        '\u{590}'..='\u{8ff}'
        | '\u{fb1d}'..='\u{fdff}'
        | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}'
        | '\u{1e800}'..='\u{1efff}')
}
