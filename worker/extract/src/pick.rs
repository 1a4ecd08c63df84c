//! What both engines look for: a selector, and what to take from each match. A
//! `--select` in CSS is a pick. Most presets are picks too, so they can be streamed.

use select::{self, Field, Pipe, Preset, Source, is_link};

/// A selector, and what to take from each match.
#[derive(Debug, Clone)]
pub(crate) struct Pick {
    pub(crate) selector: String,
    pub(crate) take: Take,
    /// Take every match, not only the first.
    pub(crate) every: bool,
    pub(crate) needs_base: NeedsBase,
}

/// Whether a value depends on the page's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NeedsBase {
    No,
    /// The value is a link; an absolute one does not depend on the base.
    IfRelative,
    /// A step turns the value into a link.
    Yes,
}

/// What to take from a matching element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Take {
    /// All the text inside; trimmed later.
    Text,
    /// An attribute; links are resolved later.
    Attribute(String),
    /// The first of these attributes that exists, a NUL, and the attribute `content`.
    /// Decoded attributes contain no NUL.
    Pair(&'static [&'static str]),
    /// The element as HTML. This needs a tree.
    Html,
}

impl From<&select::Take> for Take {
    fn from(take: &select::Take) -> Self {
        match take {
            select::Take::Text => Self::Text,
            select::Take::Attribute(name) => Self::Attribute(name.clone()),
            select::Take::Html => Self::Html,
        }
    }
}

impl Take {
    pub(crate) fn is_link(&self) -> bool {
        matches!(self, Self::Attribute(name) if is_link(name))
    }
}

impl Pick {
    /// The pick of a field in CSS.
    pub(crate) fn of_field(field: &Field) -> Option<Self> {
        match &field.source {
            Source::Css { selector, take } => Some(Self {
                selector: selector.clone(),
                take: take.into(),
                every: field.every,
                needs_base: if field.pipes.contains(&Pipe::Url) {
                    NeedsBase::Yes
                } else if Take::from(take).is_link() {
                    NeedsBase::IfRelative
                } else {
                    NeedsBase::No
                },
            }),
            Source::JsonPath(_) | Source::XPath(_) => None,
        }
    }

    /// The pick of a preset, unless it needs the tree itself.
    pub(crate) fn of_preset(preset: Preset) -> Option<Self> {
        let (selector, take) = match preset {
            // The type may be followed by white space or parameters.
            Preset::JsonLd => {
                ("script[type~='application/ld+json' i], script[type*='application/ld+json;' i]", Take::Text)
            }
            Preset::OpenGraph => ("meta[property], meta[name]", Take::Pair(&["property", "name"])),
            Preset::Meta => ("meta[name]", Take::Pair(&["name"])),
            Preset::Microdata => return None,
        };
        Some(Self { selector: selector.to_owned(), take, every: true, needs_base: NeedsBase::No })
    }
}
