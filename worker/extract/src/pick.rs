//! What both engines look for: a selector and what is taken of its matches. A
//! `--select` in CSS is one; so are most presets, which is why they stream.

use select::{self, Field, Pipe, Preset, Source, is_link};

/// A selector, and what is taken of a match.
#[derive(Debug, Clone)]
pub(crate) struct Pick {
    pub(crate) selector: String,
    pub(crate) take: Take,
    /// Every match, not only the first.
    pub(crate) every: bool,
    pub(crate) needs_base: NeedsBase,
}

/// Whether what a value comes to hangs on the page's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NeedsBase {
    No,
    /// It is a link: not if it is absolute.
    IfRelative,
    /// A step makes a link of what was found.
    Yes,
}

/// What is taken of a matching element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Take {
    /// All the text inside, to be trimmed.
    Text,
    /// An attribute; links among them are to be resolved.
    Attribute(String),
    /// The first of these attributes that is there, a NUL, and the attribute `content`.
    /// A decoded attribute has no NUL of its own.
    Pair(&'static [&'static str]),
    /// The element, as HTML. For this a tree is needed.
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
    /// What a field in CSS looks for.
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

    /// What a preset looks for, unless it needs the tree itself.
    pub(crate) fn of_preset(preset: Preset) -> Option<Self> {
        let (selector, take) = match preset {
            // Alone, or with white space or parameters.
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
