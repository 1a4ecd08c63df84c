//! Flags that say what is extracted from each page.

use std::time::Duration;

use clap::{Args, ValueEnum};
use shared::select::{Each, Preset};

use crate::cli::{amounts, values};

#[derive(Debug, Args)]
#[command(next_help_heading = "Extraction")]
pub(in crate::cli) struct ExtractFlags {
    /// Extract a field, such as title=h1 or 'links[]=a::attr(href)' (repeatable)
    ///
    /// SEL is a CSS selector, JSONPath or XPath, optionally followed by steps: SEL | STEP | STEP. See
    /// "Selectors" at the end of `supervisor fetch --help`.
    #[arg(long, value_name = "NAME=SEL", value_parser = values::select)]
    pub(in crate::cli) select: Vec<String>,
    /// Extract a list of objects, one for each match of this selector
    ///
    /// The --select fields are then looked up inside each match.
    #[arg(long, value_name = "SEL", value_parser = values::each)]
    pub(in crate::cli) each: Option<Each>,
    /// Extract embedded metadata of one kind (repeatable)
    #[arg(long, value_enum, value_name = "NAME")]
    pub(in crate::cli) preset: Vec<PresetFlag>,
    /// Maximum CPU time for the extraction of one page
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        allow_negative_numbers = true,
        value_parser = amounts::duration,
    )]
    pub(in crate::cli) parse_timeout: Duration,
    /// Maximum page size after decompression; larger pages fail with too_large
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        allow_negative_numbers = true,
        value_parser = amounts::body_bytes,
    )]
    pub(in crate::cli) body_bytes_max: u64,
}

/// `--preset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PresetFlag {
    /// Objects of application/ld+json scripts
    #[value(name = "jsonld")]
    JsonLd,
    /// Open Graph properties: og:*, article:* and similar
    #[value(name = "opengraph")]
    OpenGraph,
    /// Microdata items
    #[value(name = "microdata")]
    Microdata,
    /// <meta name=…>
    #[value(name = "meta")]
    Meta,
}

impl PresetFlag {
    pub(in crate::cli) const fn preset(self) -> Preset {
        match self {
            Self::JsonLd => Preset::JsonLd,
            Self::OpenGraph => Preset::OpenGraph,
            Self::Microdata => Preset::Microdata,
            Self::Meta => Preset::Meta,
        }
    }
}
