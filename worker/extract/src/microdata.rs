//! `--preset microdata`: converts a page's items to JSON according to the HTML standard
//! (section "Converting HTML to other formats"): `type`, `id`, `properties`.
//!
//! There are two differences. A link without an absolute form stays as
//! written, as in all fields. An item nested deeper than [`DEPTH_MAX`]
//! is `"ERROR"`, which the standard uses for an item inside itself.

use std::collections::{HashMap, HashSet};

use ego_tree::NodeId;
use html5ever::ns;
use scraper::{ElementRef, Html};
use wire::record::FieldValue;

use crate::ExtractError;
use crate::each::MEMBER_BYTES;
use crate::found::Found;
use crate::presets::{Members, Repeated};
use crate::steps::Around;

/// Maximum depth of nested items. Vocabularies need five levels.
const DEPTH_MAX: usize = 64;

/// Elements visited between two checks of the deadline.
const ELEMENTS_PER_LOOK: u32 = 256;

/// All top-level items of a page.
pub(crate) fn items(page: &Html, found: &mut Found, around: Around<'_>) -> Result<FieldValue, ExtractError> {
    let mut crawl = Crawl { found, around, order: HashMap::new(), by_id: HashMap::new(), looks: 0 };
    let mut top = Vec::new();
    for element in page.tree.root().descendants().filter_map(ElementRef::wrap) {
        crawl.look()?;
        if is_item(element) && element.attr("itemprop").is_none() {
            top.push(element);
        }
    }
    if !top.is_empty() {
        crawl.index(page)?;
    }
    let mut path = Vec::new();
    top.into_iter().map(|item| crawl.object(item, &mut path)).collect::<Result<_, _>>().map(FieldValue::List)
}

fn is_item(element: ElementRef<'_>) -> bool {
    element.value().name.ns == ns!(html) && element.attr("itemscope").is_some()
}

fn words<'a>(element: ElementRef<'a>, attribute: &str) -> impl Iterator<Item = &'a str> {
    element.attr(attribute).unwrap_or_default().split_ascii_whitespace()
}

/// One pass over the items of a page.
struct Crawl<'a, 'p> {
    found: &'a mut Found,
    around: Around<'a>,
    /// The position of each element in the document. The parser numbers elements in order of creation.
    order: HashMap<NodeId, usize>,
    /// The first element with each id.
    by_id: HashMap<&'p str, ElementRef<'p>>,
    looks: u32,
}

impl<'p> Crawl<'_, 'p> {
    fn look(&mut self) -> Result<(), ExtractError> {
        self.looks += 1;
        if self.looks.is_multiple_of(ELEMENTS_PER_LOOK) { self.around.deadline.check() } else { Ok(()) }
    }

    fn index(&mut self, page: &'p Html) -> Result<(), ExtractError> {
        let has_references = page
            .tree
            .root()
            .descendants()
            .filter_map(ElementRef::wrap)
            .any(|element| element.attr("itemref").is_some());
        if !has_references {
            return Ok(());
        }
        for (place, element) in page.tree.root().descendants().filter_map(ElementRef::wrap).enumerate() {
            self.look()?;
            self.order.insert(element.id(), place);
            if let Some(id) = element.value().id() {
                self.by_id.entry(id).or_insert(element);
            }
        }
        Ok(())
    }

    fn object(&mut self, item: ElementRef<'p>, path: &mut Vec<NodeId>) -> Result<FieldValue, ExtractError> {
        path.push(item.id());
        let mut object = Vec::with_capacity(3);
        let types: Vec<_> = words(item, "itemtype").map(|word| FieldValue::Text(word.to_owned())).collect();
        self.found.grow(MEMBER_BYTES * 3 + item.attr("itemtype").map_or(0, str::len))?;
        if !types.is_empty() {
            object.push(("type".to_owned(), FieldValue::List(types)));
            if let Some(id) = item.attr("itemid") {
                object.push(("id".to_owned(), self.link(Some(id))));
            }
        }
        let mut members = Members::default();
        for element in self.properties(item)? {
            let value = self.value(element, path)?;
            for name in words(element, "itemprop") {
                self.found.grow(MEMBER_BYTES + name.len() + size(&value))?;
                members.add(name.to_owned(), value.clone());
            }
        }
        object.push(("properties".to_owned(), members.into_object(Repeated::Always)));
        path.pop();
        Ok(FieldValue::Object(object))
    }

    /// The elements that are an item's properties, in document order.
    fn properties(&mut self, item: ElementRef<'p>) -> Result<Vec<ElementRef<'p>>, ExtractError> {
        let mut properties = Vec::new();
        // Elements to visit, the next one last.
        let mut pending: Vec<ElementRef<'p>> = Vec::new();
        let referred: Vec<_> = words(item, "itemref").filter_map(|id| self.by_id.get(id).copied()).collect();
        let has_references = !referred.is_empty();
        pending.extend(referred);
        push_children(item, &mut pending);
        let mut seen = HashSet::from([item.id()]);
        while let Some(element) = pending.pop() {
            self.look()?;
            // Without references, no element can be visited twice.
            if has_references && !seen.insert(element.id()) {
                continue;
            }
            if !is_item(element) {
                push_children(element, &mut pending);
            }
            if words(element, "itemprop").next().is_some() {
                properties.push(element);
            }
        }
        if has_references {
            properties.sort_by_key(|element| self.order.get(&element.id()).copied());
        }
        Ok(properties)
    }

    fn value(&mut self, element: ElementRef<'p>, path: &mut Vec<NodeId>) -> Result<FieldValue, ExtractError> {
        if is_item(element) {
            if path.len() >= DEPTH_MAX || path.contains(&element.id()) {
                return Ok(FieldValue::Text("ERROR".to_owned()));
            }
            return self.object(element, path);
        }
        let text = match element.value().name() {
            "meta" => element.attr("content").unwrap_or_default().to_owned(),
            "audio" | "embed" | "iframe" | "img" | "source" | "track" | "video" => {
                return Ok(self.link(element.attr("src")));
            }
            "a" | "area" | "link" => return Ok(self.link(element.attr("href"))),
            "object" => return Ok(self.link(element.attr("data"))),
            "data" | "meter" => element.attr("value").unwrap_or_default().to_owned(),
            "time" if element.attr("datetime").is_some() => {
                element.attr("datetime").unwrap_or_default().to_owned()
            }
            _ => {
                self.around.deadline.check()?;
                element.text().collect()
            }
        };
        Ok(FieldValue::Text(text))
    }

    fn link(&self, link: Option<&str>) -> FieldValue {
        FieldValue::Text(link.map_or_else(String::new, |link| self.around.links.resolve(link)))
    }
}

fn push_children<'p>(element: ElementRef<'p>, pending: &mut Vec<ElementRef<'p>>) {
    let from = pending.len();
    pending.extend(element.child_elements());
    if let Some(children) = pending.get_mut(from..) {
        children.reverse();
    }
}

/// The size of a copy of a value. A property with several names is copied for each.
fn size(value: &FieldValue) -> usize {
    match value {
        FieldValue::Text(text) => text.len(),
        FieldValue::List(values) => values.iter().map(|value| MEMBER_BYTES + size(value)).sum(),
        FieldValue::Object(members) => {
            members.iter().map(|(name, value)| MEMBER_BYTES + name.len() + size(value)).sum()
        }
        FieldValue::Null | FieldValue::Int(_) | FieldValue::Float(_) | FieldValue::Json(_) => 0,
    }
}
