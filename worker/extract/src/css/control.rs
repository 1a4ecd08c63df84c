//! The initial state of form controls (HTML 4.10).

use std::collections::HashMap;

use ego_tree::NodeId;
use scraper::ElementRef;

use super::element::{has, is_any_of, is_html, upwards};
use super::values::float;
use crate::document::Document;

/// The kind of a control, which decides what applies to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An `input`, by its type.
    Input(&'static str),
    Textarea,
    Select,
    Other,
}

/// The types of `input` except `text`, which is also the type of unknown ones.
const TYPES: [&str; 21] = [
    "button",
    "checkbox",
    "color",
    "date",
    "datetime-local",
    "email",
    "file",
    "hidden",
    "image",
    "month",
    "number",
    "password",
    "radio",
    "range",
    "reset",
    "search",
    "submit",
    "tel",
    "time",
    "url",
    "week",
];

impl Kind {
    pub(super) fn of(element: ElementRef<'_>) -> Self {
        if !is_html(element) {
            return Self::Other;
        }
        match element.value().name() {
            "input" => {
                let given = element.attr("type").unwrap_or_default();
                Self::Input(TYPES.into_iter().find(|kind| kind.eq_ignore_ascii_case(given)).unwrap_or("text"))
            }
            "textarea" => Self::Textarea,
            "select" => Self::Select,
            _ => Self::Other,
        }
    }

    /// Whether the user types text into it.
    pub(super) fn is_written_in(self) -> bool {
        self.has_placeholder() && self != Self::Input("number")
    }

    pub(super) fn has_placeholder(self) -> bool {
        let types = ["text", "search", "url", "tel", "email", "password", "number"];
        self == Self::Textarea || types.iter().any(|kind| self == Self::Input(kind))
    }

    /// Whether `min` and `max` apply to it.
    pub(super) fn has_range(self) -> bool {
        let types = ["date", "month", "week", "time", "datetime-local", "number", "range"];
        types.iter().any(|kind| self == Self::Input(kind))
    }

    /// Whether `readonly` applies to it.
    pub(super) fn can_be_read_only(self) -> bool {
        self.has_placeholder() || (self.has_range() && self != Self::Input("range"))
    }

    pub(super) fn can_be_required(self) -> bool {
        let types = ["checkbox", "radio", "file"];
        self.can_be_read_only() || self == Self::Select || types.iter().any(|kind| self == Self::Input(kind))
    }
}

/// The initial value of a text control.
pub(super) fn written(element: ElementRef<'_>) -> String {
    let value = element.attr("value").unwrap_or_default();
    match Kind::of(element) {
        Kind::Textarea => element.text().collect(),
        // A value that is not a number is not shown.
        Kind::Input("number") if float(value).is_none() => String::new(),
        Kind::Input(_) | Kind::Select | Kind::Other => value.replace(['\r', '\n'], ""),
    }
}

pub(super) fn is_blank(element: ElementRef<'_>) -> bool {
    written(element).is_empty()
}

/// Whether `disabled` applies to an element.
pub(super) fn can_be_disabled(element: ElementRef<'_>) -> bool {
    const NAMES: [&str; 7] = ["button", "input", "select", "textarea", "optgroup", "option", "fieldset"];
    is_any_of(element, &NAMES)
}

pub(super) fn is_disabled(element: ElementRef<'_>) -> bool {
    if !can_be_disabled(element) {
        return false;
    }
    let by_others = || match element.value().name() {
        "optgroup" => in_disabled_select(element),
        "option" => in_disabled_group(element) || in_disabled_select(element),
        _ => in_disabled_fieldset(element),
    };
    has(element, "disabled") || by_others()
}

fn in_disabled_select(element: ElementRef<'_>) -> bool {
    around_option(element, "select").is_some_and(is_disabled)
}

fn in_disabled_group(option: ElementRef<'_>) -> bool {
    around_option(option, "optgroup").is_some_and(|group| has(group, "disabled"))
}

/// The nearest ancestor with this name of an option or an option group.
fn around_option<'p>(option: ElementRef<'p>, name: &str) -> Option<ElementRef<'p>> {
    // The search stops at these elements.
    let ends = |around: &ElementRef<'_>| is_any_of(*around, &["select", "datalist", "hr", "option"]);
    let mut all = upwards(option).skip(1);
    all.find(|around| is_any_of(*around, &[name]) || ends(around))
        .filter(|around| is_any_of(*around, &[name]))
}

/// Whether an enclosing fieldset disables an element. It does not disable what is in its first legend.
fn in_disabled_fieldset(element: ElementRef<'_>) -> bool {
    let mut below = element;
    for around in upwards(element).skip(1) {
        if is_any_of(around, &["fieldset"]) && has(around, "disabled") {
            let legend = around.child_elements().find(|child| is_any_of(*child, &["legend"]));
            if legend != Some(below) {
                return true;
            }
        }
        below = around;
    }
    false
}

/// Whether a user could edit an element.
pub(super) fn is_writable(element: ElementRef<'_>) -> bool {
    let kind = Kind::of(element);
    if matches!(kind, Kind::Input(_) | Kind::Textarea) {
        return kind.can_be_read_only() && !has(element, "readonly") && !is_disabled(element);
    }
    let said =
        upwards(element).filter(|around| is_html(*around)).find_map(|around| around.attr("contenteditable"));
    said.is_some_and(|said| ["", "true", "plaintext-only"].iter().any(|yes| said.eq_ignore_ascii_case(yes)))
}

/// The form that a control belongs to: the one that it names by id, or the one around it.
fn form(page: &Document, element: ElementRef<'_>) -> Option<NodeId> {
    let Some(id) = element.attr("form") else {
        return upwards(element).skip(1).find(|around| is_any_of(*around, &["form"])).map(|form| form.id());
    };
    let ids = page.facts.ids.get_or_init(|| {
        let mut ids = HashMap::new();
        for element in page.elements() {
            if let Some(id) = element.attr("id") {
                ids.entry(id.to_owned()).or_insert(element.id());
            }
        }
        ids
    });
    let named = *ids.get(id)?;
    ElementRef::wrap(page.html.tree.get(named)?).filter(|form| is_any_of(*form, &["form"])).map(|_| named)
}

pub(super) fn is_checked(page: &Document, element: ElementRef<'_>) -> bool {
    match (Kind::of(element), element.value().name()) {
        (Kind::Input("checkbox"), _) => has(element, "checked"),
        (Kind::Input("radio"), _) => checked_of_group(page, element) == Some(element.id()),
        (_, "option") => is_selected(page, element),
        _ => false,
    }
}

/// The checked button of a radio button's group; of several, the last.
fn checked_of_group(page: &Document, radio: ElementRef<'_>) -> Option<NodeId> {
    let name = |radio: ElementRef<'_>| radio.attr("name").unwrap_or_default().to_owned();
    let own_name = name(radio);
    if own_name.is_empty() {
        return has(radio, "checked").then(|| radio.id());
    }
    let checked = page.facts.checked.get_or_init(|| {
        let is_checked =
            |other: &ElementRef<'_>| Kind::of(*other) == Kind::Input("radio") && has(*other, "checked");
        let all = page.elements().filter(is_checked);
        all.map(|other| ((name(other), form(page, other)), other.id())).collect()
    });
    checked.get(&(own_name, form(page, radio))).copied()
}

fn is_selected(page: &Document, option: ElementRef<'_>) -> bool {
    let Some(select) = upwards(option).find(|around| is_any_of(*around, &["select"])) else {
        return has(option, "selected");
    };
    if has(select, "multiple") {
        return has(option, "selected");
    }
    selected_of(page, select) == Some(option)
}

/// The option that a single-choice `select` shows.
pub(super) fn selected_of<'p>(page: &'p Document, select: ElementRef<'p>) -> Option<ElementRef<'p>> {
    let find = || {
        let options = || select.descendent_elements().filter(|option| is_any_of(*option, &["option"]));
        let rows = select.attr("size").and_then(|size| size.trim().parse::<u32>().ok()).unwrap_or(1);
        let said = options().filter(|option| has(*option, "selected")).last();
        let can_be_chosen =
            |option: &ElementRef<'_>| !has(*option, "disabled") && !in_disabled_group(*option);
        said.or_else(|| if rows <= 1 { options().find(can_be_chosen) } else { None })
    };
    let mut known = page.facts.selected.borrow_mut();
    let selected = *known.entry(select.id()).or_insert_with(|| find().map(|option| option.id()));
    ElementRef::wrap(page.html.tree.get(selected?)?)
}

pub(super) fn is_default(page: &Document, element: ElementRef<'_>) -> bool {
    match (Kind::of(element), element.value().name()) {
        (Kind::Input("checkbox" | "radio"), _) => has(element, "checked"),
        (_, "option") => has(element, "selected"),
        _ if submits(element) => {
            form(page, element).is_some_and(|form| first_submit(page, form) == Some(element.id()))
        }
        _ => false,
    }
}

/// The first submit button of a form.
fn first_submit(page: &Document, of: NodeId) -> Option<NodeId> {
    let submits = page.facts.submits.get_or_init(|| {
        let mut first = HashMap::new();
        for button in page.elements().filter(|button| submits(*button)) {
            if let Some(form) = form(page, button) {
                first.entry(form).or_insert(button.id());
            }
        }
        first
    });
    submits.get(&of).copied()
}

fn submits(element: ElementRef<'_>) -> bool {
    if is_any_of(element, &["button"]) {
        let kind = element.attr("type").unwrap_or_default();
        return !["button", "reset"].iter().any(|other| kind.eq_ignore_ascii_case(other));
    }
    matches!(Kind::of(element), Kind::Input("submit" | "image"))
}

pub(super) fn is_indeterminate(page: &Document, element: ElementRef<'_>) -> bool {
    match Kind::of(element) {
        Kind::Input("radio") => checked_of_group(page, element).is_none(),
        Kind::Input(_) | Kind::Textarea | Kind::Select | Kind::Other => {
            is_any_of(element, &["progress"]) && !has(element, "value")
        }
    }
}
