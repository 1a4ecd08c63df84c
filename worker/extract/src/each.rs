//! `--each`: one object for each element that a selector matches. Its fields are looked
//! for inside that element.

use scraper::ElementRef;
use select::{Each, Field, Source};
use selectors::context::SelectorCaches;
use wire::record::FieldValue;

use crate::css::Selector;
use crate::document::Document;
use crate::dom::ELEMENTS_PER_LOOK;
use crate::found::{Found, nothing, trimmed};
use crate::pick::Take;
use crate::steps::{Around, Steps};
use crate::tree::Tree;
#[cfg(feature = "xpath")]
use crate::xpath::{Nodes, XPath};
use crate::{ExtractError, Rejected, markup};

/// Memory for a member besides its text, counted as if written: `,"":null`.
pub(crate) const MEMBER_BYTES: usize = 64;

/// The elements that become objects, and the fields of each.
pub(crate) struct Items {
    of: Of,
    members: Vec<Member>,
}

enum Of {
    Css(Selector),
    #[cfg(feature = "xpath")]
    XPath(XPath),
    /// A JSONPath, which matches nothing in HTML.
    Nothing,
}

struct Member {
    name: String,
    wanted: Wanted,
    every: bool,
    steps: Steps,
}

enum Wanted {
    Css {
        selector: Selector,
        take: Take,
        /// The selector of a member may match the item's element itself.
        is_scoped: bool,
    },
    #[cfg(feature = "xpath")]
    XPath(XPath),
    Nothing,
}

impl Items {
    pub(crate) fn new(each: &Each, fields: &[Field]) -> Result<Self, Rejected> {
        let of = match each {
            Each::Css(css) => Of::Css(Selector::new(css)?),
            #[cfg(feature = "xpath")]
            Each::XPath(text) => Of::XPath(XPath::new(text, true)?),
            #[cfg(not(feature = "xpath"))]
            Each::XPath(_) => return Err(Rejected::NoXPath),
            Each::JsonPath(_) => Of::Nothing,
        };
        let members = fields.iter().map(Member::new).collect::<Result<_, _>>()?;
        Ok(Self { of, members })
    }

    /// The items of a page, in document order.
    pub(crate) fn of_page(
        &self,
        tree: &Tree<'_>,
        found: &mut Found,
        around: Around<'_>,
    ) -> Result<FieldValue, ExtractError> {
        let mut items = Vec::new();
        let mut add = |element: ElementRef<'_>, found: &mut Found| {
            let item = Item {
                page: tree.page,
                element,
                around,
                #[cfg(feature = "xpath")]
                nodes: tree.nodes.as_ref(),
            };
            item.object(&self.members, found).map(|object| items.push(object))
        };
        match &self.of {
            Of::Css(selector) => {
                let mut caches = SelectorCaches::default();
                for (n, element) in tree.page.elements().enumerate() {
                    if n % ELEMENTS_PER_LOOK == 0 {
                        around.deadline.check()?;
                    }
                    if selector.matches(tree.page, element, None, &mut caches) {
                        add(element, found)?;
                    }
                }
            }
            #[cfg(feature = "xpath")]
            Of::XPath(xpath) => {
                if let Some(nodes) = &tree.nodes {
                    for element in xpath.elements(nodes, around)? {
                        add(element, found)?;
                    }
                }
            }
            Of::Nothing => {}
        }
        Ok(FieldValue::List(items))
    }

    /// Whether the items or their members use XPath.
    #[cfg(feature = "xpath")]
    pub(crate) fn needs_nodes(&self) -> bool {
        let of_members = self.members.iter().any(|member| matches!(member.wanted, Wanted::XPath(_)));
        of_members || matches!(self.of, Of::XPath(_))
    }
}

impl Member {
    fn new(field: &Field) -> Result<Self, Rejected> {
        let wanted = match &field.source {
            Source::Css { selector: css, take } => Wanted::Css {
                selector: Selector::new(css)?,
                take: take.into(),
                is_scoped: css.to_ascii_lowercase().contains(":scope"),
            },
            #[cfg(feature = "xpath")]
            Source::XPath(text) => Wanted::XPath(XPath::new(text, field.every)?),
            #[cfg(not(feature = "xpath"))]
            Source::XPath(_) => return Err(Rejected::NoXPath),
            Source::JsonPath(_) => Wanted::Nothing,
        };
        Ok(Self { name: field.name.clone(), wanted, every: field.every, steps: Steps::new(field)? })
    }
}

/// An element that becomes an object.
struct Item<'p> {
    page: &'p Document,
    element: ElementRef<'p>,
    around: Around<'p>,
    #[cfg(feature = "xpath")]
    nodes: Option<&'p Nodes<'p>>,
}

impl Item<'_> {
    fn object(&self, members: &[Member], found: &mut Found) -> Result<FieldValue, ExtractError> {
        // Empty items need memory too.
        found.grow(members.iter().map(|member| MEMBER_BYTES + member.name.len()).sum())?;
        let mut texts = self.css(members, found)?;
        let mut object = Vec::with_capacity(members.len());
        for (n, member) in members.iter().enumerate() {
            let value = match &member.wanted {
                Wanted::Css { .. } => {
                    let mut taken = texts.get_mut(n).map(std::mem::take).unwrap_or_default();
                    if member.every {
                        FieldValue::List(taken)
                    } else {
                        taken.pop().unwrap_or(FieldValue::Null)
                    }
                }
                #[cfg(feature = "xpath")]
                Wanted::XPath(xpath) => match self.nodes {
                    Some(nodes) => xpath.below(nodes, self.element, found, self.around)?,
                    None => FieldValue::Null,
                },
                Wanted::Nothing => nothing(member.every),
            };
            object.push((member.name.clone(), member.steps.run(value, self.around)?));
        }
        Ok(FieldValue::Object(object))
    }

    /// Finds the values of all CSS members in one walk.
    fn css(&self, members: &[Member], found: &mut Found) -> Result<Vec<Vec<FieldValue>>, ExtractError> {
        let mut texts: Vec<Vec<FieldValue>> = members.iter().map(|_| Vec::new()).collect();
        let is_css = |member: &&Member| matches!(member.wanted, Wanted::Css { .. });
        let mut firsts = members.iter().filter(is_css).filter(|member| !member.every).count();
        let walks_on = members.iter().filter(is_css).any(|member| member.every);
        // Cached results of `:has()` are valid for this item only, because they may depend on `:scope`.
        let mut caches = SelectorCaches::default();
        let elements = self.element.descendants().filter_map(ElementRef::wrap);
        for (n, element) in elements.enumerate() {
            if n % ELEMENTS_PER_LOOK == 0 {
                self.around.deadline.check()?;
            }
            if firsts == 0 && !walks_on {
                break;
            }
            for (member, texts) in members.iter().zip(&mut texts) {
                let Wanted::Css { selector, take, is_scoped } = &member.wanted else { continue };
                let is_answered = !member.every && !texts.is_empty();
                if is_answered
                    || (n == 0 && !is_scoped)
                    || !selector.matches(self.page, element, Some(self.element), &mut caches)
                {
                    continue;
                }
                if let Some(value) = self.take(element, take, found)? {
                    texts.push(value);
                    firsts -= usize::from(!member.every);
                }
            }
        }
        Ok(texts)
    }

    fn take(
        &self,
        element: ElementRef<'_>,
        take: &Take,
        found: &mut Found,
    ) -> Result<Option<FieldValue>, ExtractError> {
        let value = match take {
            Take::Attribute(name) => match self.page.language.attribute(element, name) {
                Some(value) if take.is_link() => self.around.links.resolve(value),
                Some(value) => value.to_owned(),
                None => return Ok(None),
            },
            Take::Text => {
                self.around.deadline.check()?;
                trimmed(&element.text().collect::<String>()).to_owned()
            }
            Take::Html => {
                self.around.deadline.check()?;
                let mut out = Vec::new();
                markup::outer(self.page, element, &mut out)?;
                String::from_utf8_lossy(&out).into_owned()
            }
            // Only presets use these, and presets are for the whole page.
            Take::Pair(_) => return Ok(None),
        };
        found.grow(value.len())?;
        Ok(Some(FieldValue::Text(value)))
    }
}
