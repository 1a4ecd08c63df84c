//! Constraint validation of form controls (HTML 4.10.5.3 and 4.10.20.1).

use scraper::ElementRef;

use super::control::{self, Kind, is_disabled, written};
use super::element::{has, is_any_of, upwards};
use super::values::number;
use crate::document::Document;

/// Whether the value is in the control's range; `None` if the control has no range.
pub(super) fn is_in_range(element: ElementRef<'_>) -> Option<bool> {
    let Kind::Input(kind) = Kind::of(element) else { return None };
    if !Kind::Input(kind).has_range() || is_barred(element) {
        return None;
    }
    let limit = |name: &str, default: f64| {
        let said = element.attr(name).and_then(|said| number(kind, said));
        said.or((kind == "range").then_some(default))
    };
    let (least, most) = (limit("min", 0.0), limit("max", 100.0));
    if least.is_none() && most.is_none() {
        return None;
    }
    // A slider is never out of range, and neither is a control without a valid value.
    let value = element.attr("value").and_then(|value| number(kind, value)).filter(|_| kind != "range");
    let Some(value) = value else { return Some(true) };
    let (under, over) = (least.is_some_and(|least| value < least), most.is_some_and(|most| value > most));
    let wraps = kind == "time" && least.zip(most).is_some_and(|(least, most)| least > most);
    Some(if wraps { !(under && over) } else { !(under || over) })
}

/// Whether a control, or every control in a form or fieldset, is valid; `None` if it is not validated.
pub(super) fn is_valid(page: &Document, element: ElementRef<'_>) -> Option<bool> {
    if is_any_of(element, &["form", "fieldset"]) {
        return Some(
            element.descendent_elements().skip(1).all(|inner| own_validity(page, inner) != Some(false)),
        );
    }
    own_validity(page, element)
}

fn own_validity(page: &Document, element: ElementRef<'_>) -> Option<bool> {
    let kind = Kind::of(element);
    if kind == Kind::Other || is_barred(element) {
        return None;
    }
    let is_missing = kind.can_be_required() && has(element, "required") && is_missing(page, element, kind);
    Some(!is_missing && is_in_range(element) != Some(false) && fits(element, kind))
}

/// Whether a control is barred from constraint validation.
fn is_barred(element: ElementRef<'_>) -> bool {
    let kind = Kind::of(element);
    is_disabled(element)
        || (matches!(kind, Kind::Input(_) | Kind::Textarea) && has(element, "readonly"))
        || matches!(kind, Kind::Input("hidden" | "reset" | "button"))
        || upwards(element).any(|around| is_any_of(around, &["datalist"]))
}

fn is_missing(page: &Document, element: ElementRef<'_>, kind: Kind) -> bool {
    match kind {
        Kind::Input("checkbox") => !has(element, "checked"),
        Kind::Input("radio") => control::is_indeterminate(page, element),
        Kind::Input("file") => true,
        Kind::Input(kind) if Kind::Input(kind).has_range() => {
            element.attr("value").and_then(|value| number(kind, value)).is_none()
        }
        Kind::Select if has(element, "multiple") => !element
            .descendent_elements()
            .any(|option| is_any_of(option, &["option"]) && has(option, "selected")),
        Kind::Select => control::selected_of(page, element).is_none_or(|option| match option.attr("value") {
            Some(value) => value.is_empty(),
            None => option.text().all(|text| text.trim().is_empty()),
        }),
        Kind::Input(_) | Kind::Textarea | Kind::Other => control::is_blank(element),
    }
}

/// Whether a text matches the control's type and pattern. An empty text does.
fn fits(element: ElementRef<'_>, kind: Kind) -> bool {
    let value = written(element);
    let value = value.trim();
    if value.is_empty() || !kind.is_written_in() || kind == Kind::Textarea {
        return true;
    }
    let of_type = match kind {
        Kind::Input("email") if has(element, "multiple") => value.split(',').all(|one| is_email(one.trim())),
        Kind::Input("email") => is_email(value),
        Kind::Input("url") => url::Url::parse(value).is_ok(),
        Kind::Input(_) | Kind::Textarea | Kind::Select | Kind::Other => true,
    };
    let pattern = element.attr("pattern").and_then(|pattern| select::regex(&format!("^(?:{pattern})$")).ok());
    of_type && pattern.is_none_or(|pattern| pattern.is_match(value))
}

fn is_email(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && user.bytes().all(|c| c.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&c))
            && host.split('.').all(is_label)
    })
}
