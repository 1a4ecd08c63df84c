//! Reads the attributes of XML elements: names with namespaces, normalized values.

use std::collections::HashSet;

use html5ever::{Attribute, LocalName, Prefix, QualName, ns};
use quick_xml::events::BytesStart;
use quick_xml::name::{PrefixDeclaration, QName};

use super::Builder;
use super::entities::Meaning;

impl Builder<'_> {
    pub(super) fn attributes(&mut self, start: &BytesStart<'_>) -> Result<Vec<Attribute>, String> {
        let mut attributes = Vec::new();
        let mut seen = HashSet::new();
        // The reader's own check for duplicates is quadratic, and a page could have a million attributes.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| {
                let why = error.to_string();
                // Its position is relative to the tag; the message has the line.
                let why = why.split_once(": ").map_or(why.as_str(), |(_, why)| why);
                format!("in `<{}>`: {why}", start.name().as_ref())
            })?;
            let name = match declaration(attribute.key) {
                Some(name) => name,
                None => self.name(attribute.key, false)?,
            };
            let mut value = String::with_capacity(attribute.value.len());
            self.normalize(&attribute.value, 0, &mut value)?;
            if !seen.insert((name.ns.clone(), name.local.clone())) {
                return Err(format!(
                    "in `<{}>`: attribute `{}` appears twice",
                    start.name().as_ref(),
                    name.local
                ));
            }
            attributes.push(Attribute { name, value: value.into() });
        }
        Ok(attributes)
    }

    /// Appends a value with references replaced and white space turned into spaces
    /// (XML 1.0, section 3.3.3).
    fn normalize(&mut self, raw: &str, depth: usize, out: &mut String) -> Result<(), String> {
        let mut rest = raw;
        while let Some(at) = rest.find(['&', '<', '\t', '\r', '\n']) {
            let (before, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
            out.push_str(before);
            if special.starts_with('<') {
                return Err("an attribute value contains `<`; write `&lt;`".to_owned());
            }
            let Some(reference) = special.strip_prefix('&') else {
                out.push(' ');
                rest = special.strip_prefix("\r\n").or_else(|| special.get(1..)).unwrap_or_default();
                continue;
            };
            let Some((name, after)) = reference.split_once(';') else {
                return Err("an attribute value contains `&`; write `&amp;`".to_owned());
            };
            rest = after;
            match self.entities.meaning(name)? {
                Meaning::Text(text) => out.push_str(&text),
                Meaning::Content(text) => {
                    self.entities.enter(name, text.len(), depth)?;
                    self.normalize(&text, depth + 1, out)?;
                }
            }
        }
        out.push_str(rest);
        Ok(())
    }
}

/// The name of the attribute if it declares a namespace.
fn declaration(name: QName<'_>) -> Option<QualName> {
    Some(match name.as_namespace_binding()? {
        PrefixDeclaration::Default => QualName::new(None, ns!(xmlns), LocalName::from("xmlns")),
        PrefixDeclaration::Named(prefix) => {
            QualName::new(Some(Prefix::from("xmlns")), ns!(xmlns), LocalName::from(prefix))
        }
    })
}
