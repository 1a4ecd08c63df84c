//! `--preset`: what a page says about itself in a standard vocabulary.

use serde::{Deserialize, Serialize};

/// Fields that need no selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The objects in its `application/ld+json` scripts, as a list.
    JsonLd,
    /// Its `<meta property>` elements of the Open Graph vocabularies, as an object.
    OpenGraph,
    /// Its microdata items, as a list.
    Microdata,
    /// Its `<meta name>` elements, as an object.
    Meta,
}

impl Preset {
    /// All presets, in the order of the help.
    pub const ALL: [Self; 4] = [Self::JsonLd, Self::OpenGraph, Self::Microdata, Self::Meta];

    /// Its name on the command line, and its key under `fields`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonLd => "jsonld",
            Self::OpenGraph => "opengraph",
            Self::Microdata => "microdata",
            Self::Meta => "meta",
        }
    }
}
