//! Entities declared by a page, and limits on expanding them.
//!
//! External entities are never read: a page cannot make a worker open a file.

use std::collections::HashMap;

use html5ever::data::NAMED_ENTITIES;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::BytesRef;

use super::{is_blank, is_name};

/// Maximum depth of references inside entities, far above what real documents use.
const DEPTH_MAX: usize = 16;

/// Maximum size of all expanded entities of a page. Without it, ten short declarations
/// could expand to a billion words.
const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// The entities of a page.
#[derive(Debug, Default)]
pub(super) struct Entities {
    /// The replacement text of each entity; `None` for an external entity.
    declared: HashMap<String, Option<String>>,
    /// The document type refers to other files, which may declare more.
    is_open: bool,
    expanded_bytes: usize,
}

/// What a reference stands for.
pub(super) enum Meaning {
    /// Plain text.
    Text(String),
    /// Text that may contain markup and references.
    Content(String),
}

impl Entities {
    /// Looks up a reference by the name between `&` and `;`.
    pub(super) fn meaning(&self, name: &str) -> Result<Meaning, String> {
        if name.starts_with('#') {
            let c = BytesRef::new(name).resolve_char_ref().ok().flatten();
            let c = c.filter(|c| *c >= ' ' || is_blank(*c));
            return c
                .map(|c| Meaning::Text(c.to_string()))
                .ok_or_else(|| format!("`&{name};` is not a character allowed in XML"));
        }
        if let Some(text) = resolve_xml_entity(name) {
            return Ok(Meaning::Text(text.to_owned()));
        }
        match self.declared.get(name) {
            Some(Some(text)) => Ok(Meaning::Content(text.clone())),
            // A reference whose replacement is unknown is kept as written. The DTDs of XHTML declare
            // the entities of HTML.
            Some(None) => Ok(Meaning::Text(format!("&{name};"))),
            None if self.is_open => Ok(Meaning::Text(of_html(name).unwrap_or_else(|| format!("&{name};")))),
            None if is_name(name) => Err(format!("entity `&{name};` is not declared")),
            None => Err("`&` does not start a reference; write `&amp;`".to_owned()),
        }
    }

    /// Counts the expansion of an entity, `depth` references deep.
    pub(super) fn enter(&mut self, name: &str, bytes: usize, depth: usize) -> Result<(), String> {
        if depth >= DEPTH_MAX {
            return Err(format!(
                "entity `&{name};` refers to itself, or is nested more than {DEPTH_MAX} deep"
            ));
        }
        self.expanded_bytes = self.expanded_bytes.saturating_add(bytes.max(1));
        if self.expanded_bytes > EXPANDED_BYTES_MAX {
            return Err(format!("entities expand to more than {EXPANDED_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    /// Reads the declarations in a document type declaration.
    pub(super) fn declare(&mut self, doctype: &str) -> Result<(), String> {
        let (external, subset) = doctype.split_once('[').unwrap_or((doctype, ""));
        self.is_open = matches!(external.split_whitespace().nth(1), Some("PUBLIC" | "SYSTEM"));
        let mut rest = subset.trim_start_matches(is_blank);
        while !rest.is_empty() && !rest.starts_with(']') {
            rest = self.one(rest)?.trim_start_matches(is_blank);
        }
        Ok(())
    }

    /// Reads one declaration and returns the text after it.
    fn one<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let unclosed = || "a declaration in the document type is not closed".to_owned();
        for (start, end) in [("<!--", "-->"), ("<?", "?>")] {
            if let Some(inside) = text.strip_prefix(start) {
                return inside.split_once(end).map(|(_, rest)| rest).ok_or_else(unclosed);
            }
        }
        if let Some(reference) = text.strip_prefix('%') {
            // A parameter entity may stand for declarations in another file.
            self.is_open = true;
            return reference.split_once(';').map(|(_, rest)| rest).ok_or_else(unclosed);
        }
        let (declaration, rest) = declaration(text).ok_or_else(unclosed)?;
        if let Some(entity) = declaration.strip_prefix("<!ENTITY").filter(|rest| rest.starts_with(is_blank)) {
            self.entity(entity.trim_start_matches(is_blank))?;
        }
        Ok(rest)
    }

    fn entity(&mut self, declaration: &str) -> Result<(), String> {
        if declaration.starts_with('%') {
            return Ok(());
        }
        let malformed = || "an entity's declaration is malformed".to_owned();
        let (name, value) = declaration.split_once(is_blank).ok_or_else(malformed)?;
        let value = value.trim_start_matches(is_blank);
        let replacement = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let text = value.split(quote).nth(1).ok_or_else(malformed)?;
                Some(with_characters(text)?)
            }
            Some('S' | 'P') => None,
            _ => return Err(malformed()),
        };
        // The first declaration of a name is binding.
        self.declared.entry(name.to_owned()).or_insert(replacement);
        Ok(())
    }
}

/// Splits text after a declaration. A `>` inside quotes does not end it.
fn declaration(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let ends = |c: char| match (quote, c) {
        (None, '"' | '\'') => {
            quote = Some(c);
            false
        }
        (Some(open), _) => {
            quote = quote.filter(|_| open != c);
            false
        }
        (None, _) => c == '>',
    };
    let end = text.find(ends)?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Replaces the character references in an entity's value. Other references are replaced
/// when the entity is used.
fn with_characters(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, reference)) = rest.split_once("&#") {
        out.push_str(before);
        let (number, after) = reference.split_once(';').ok_or("`&#` does not start a character reference")?;
        let c = BytesRef::new(format!("#{number}")).resolve_char_ref().ok().flatten();
        out.push(c.ok_or_else(|| format!("`&#{number};` is not a character allowed in XML"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The text of a named character reference of HTML.
fn of_html(name: &str) -> Option<String> {
    let (first, second) = NAMED_ENTITIES.get(&*format!("{name};"))?;
    let text: String = [*first, *second].into_iter().filter(|c| *c != 0).filter_map(char::from_u32).collect();
    Some(text).filter(|text| !text.is_empty())
}
