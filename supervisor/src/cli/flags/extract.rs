//! What is taken out of each page.

use std::time::Duration;

use clap::{Args, ValueEnum};
use shared::select::{Each, Preset};

use crate::cli::{amounts, values};

#[derive(Debug, Args)]
#[command(next_help_heading = "Extraction")]
pub(in crate::cli) struct ExtractFlags {
    /// Extract a field: NAME=CSS::text, ::attr(A) or ::html, JSONPath or XPath, then | STEP…; NAME[]= takes every match; repeatable
    #[arg(long, value_name = "NAME=SEL", value_parser = values::select)]
    pub(in crate::cli) select: Vec<String>,
    /// Extract a list of objects, one for each match of SEL, with the --select fields looked for inside it
    #[arg(long, value_name = "SEL", value_parser = values::each)]
    pub(in crate::cli) each: Option<Each>,
    /// Extract what pages say of themselves; repeatable
    #[arg(long, value_enum, value_name = "NAME")]
    pub(in crate::cli) preset: Vec<PresetFlag>,
    /// CPU time that extracting one page may take
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        allow_negative_numbers = true,
        value_parser = amounts::duration,
    )]
    pub(in crate::cli) parse_timeout: Duration,
    /// Largest page, after decompression; a larger one is a too_large error
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
    /// Open Graph: og:*, article:* and their like
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
