//! Parses segments and selectors; what stands in `[?…]` is [`super::filter`]'s.

use super::text::Text;
use super::{DEPTH_MAX, JsonPath, JsonPathError, Segment, Selector, filter};

/// Parses a whole query.
pub(super) fn query(text: &str) -> Result<JsonPath, JsonPathError> {
    let mut text = Text::new(text);
    text.expect("$")?;
    let segments = segments(&mut text, 0)?;
    text.skip_space();
    match text.peek() {
        None => Ok(JsonPath { segments }),
        Some(c) => text.refuse(format!("`{c}` has no place here")),
    }
}

/// Parses segments until something else comes.
pub(super) fn segments(text: &mut Text<'_>, depth: usize) -> Result<Vec<Segment>, JsonPathError> {
    if depth > DEPTH_MAX {
        return text.refuse("brackets stand too deep inside each other");
    }
    let mut segments = Vec::new();
    loop {
        let before_space = text.at;
        text.skip_space();
        let descends = text.take("..");
        if text.peek() == Some('[') {
            segments.push(Segment { descends, selectors: bracketed(text, depth)? });
        } else if descends || text.take(".") {
            segments.push(Segment { descends, selectors: vec![shorthand(text)?] });
        } else {
            // What follows belongs to somebody else, the space before it included.
            text.at = before_space;
            return Ok(segments);
        }
    }
}

fn shorthand(text: &mut Text<'_>) -> Result<Selector, JsonPathError> {
    if text.take("*") {
        return Ok(Selector::Wildcard);
    }
    match text.name() {
        Some(name) => Ok(Selector::Name(name.to_owned())),
        None => text.refuse(
            "a name is missing; one with other characters than letters, digits and _ is written ['name']",
        ),
    }
}

fn bracketed(text: &mut Text<'_>, depth: usize) -> Result<Vec<Selector>, JsonPathError> {
    text.expect("[")?;
    let mut selectors = Vec::new();
    loop {
        text.skip_space();
        selectors.push(selector(text, depth)?);
        text.skip_space();
        if !text.take(",") {
            text.expect("]")?;
            return Ok(selectors);
        }
    }
}

fn selector(text: &mut Text<'_>, depth: usize) -> Result<Selector, JsonPathError> {
    if let Some(name) = text.string()? {
        return Ok(Selector::Name(name));
    }
    if text.take("*") {
        return Ok(Selector::Wildcard);
    }
    if text.take("?") {
        text.skip_space();
        return filter::logic(text, depth + 1).map(Selector::Filter);
    }
    let start = text.integer()?;
    let after = text.at;
    text.skip_space();
    if !text.take(":") {
        text.at = after;
        return match start {
            Some(index) => Ok(Selector::Index(index)),
            None => text.refuse("a name in quotes, a number, `*`, a slice or `?` is missing"),
        };
    }
    text.skip_space();
    let end = text.integer()?;
    text.skip_space();
    let step = if text.take(":") {
        text.skip_space();
        text.integer()?
    } else {
        None
    };
    Ok(Selector::Slice { start, end, step: step.unwrap_or(1) })
}
