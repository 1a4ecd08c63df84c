//! `parse`: a target is the path of a saved page.

use std::path::PathBuf;
use std::time::Duration;

use shared::job::ParseSpec;
use shared::record::ErrorKind;

use super::facts::{self, COMMAND, Fact};
use super::{Auto, FirstSignal, Kind, ORDERED_WINDOW, ProgressUnit, Rules, Window};
use crate::plan::{Input, Plan, Twice};
use crate::source::{TargetKind, led_out};

/// A parse job.
pub(super) struct Parse<'a>(pub(super) &'a ParseSpec);

impl Kind for Parse<'_> {
    fn rules(&self) -> Rules {
        Rules {
            target: TargetKind::Path,
            refused_as: ErrorKind::Parse,
            auto: Auto::Computes { targets_max: None, why: "files do not wait" },
            wait_max: Duration::ZERO,
            has_deadline: true,
            always_ordered: false,
            window: Window::Inputs(ORDERED_WINDOW),
            watches_repeats: false,
            progress: ProgressUnit::Inputs,
            first_signal: FirstSignal::Finish,
            twice: Twice::Harmless,
            crawls: false,
        }
    }

    fn facts(&self, plan: &Plan) -> Vec<Fact> {
        let ParseSpec { body_bytes_max, held: _ } = self.0;
        let mut facts = vec![Fact::new(COMMAND, "parse"), Fact::new("--body-bytes-max", body_bytes_max)];
        facts.append(&mut facts::of_extraction(plan));
        facts
    }

    /// The files and directories named, and what links in them lead to. A list of paths is read during
    /// the run, so with a list anything may be read.
    fn readable(&self, plan: &Plan) -> Option<Vec<PathBuf>> {
        let trees: Option<Vec<&PathBuf>> = plan.inputs.iter().map(tree).collect();
        trees.map(|trees| {
            let led_out = trees.iter().flat_map(|tree| led_out(tree, &plan.within));
            led_out.chain(trees.iter().map(|tree| (*tree).clone())).collect()
        })
    }
}

const fn tree(input: &Input) -> Option<&PathBuf> {
    match input {
        Input::Tree(path) => Some(path),
        Input::Literal(_)
        | Input::Lines(_)
        | Input::StdinLines
        | Input::CsvColumn(..)
        | Input::JsonColumn(..)
        | Input::ParquetColumn(..)
        | Input::Sitemaps(_) => None,
    }
}
