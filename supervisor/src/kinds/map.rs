//! `map`: a target is a block of lines, which are passed through the user's program.

use std::time::Duration;

use shared::job::MapSpec;
use shared::record::ErrorKind;

use super::facts::{self, COMMAND, Fact};
use super::{Auto, FirstSignal, Kind, ProgressUnit, Rules, Window};
use crate::plan::{Plan, Twice};
use crate::source::TargetKind;

/// With ordered results, the number of lines between the oldest unfinished one and the newest one in
/// work: what two workers do in a tenth of a second.
const ORDERED_WINDOW_OF_LINES: u64 = 65_536;

/// A map job.
pub(super) struct Map<'a>(pub(super) &'a MapSpec);

impl Kind for Map<'_> {
    fn rules(&self) -> Rules {
        Rules {
            target: TargetKind::Lines,
            refused_as: ErrorKind::Parse,
            // A program answers one line after another, so there is nothing to interleave.
            auto: Auto::Computes {
                targets_max: None,
                why: "the program computes, and its workers do not wait for the network",
            },
            wait_max: Duration::ZERO,
            has_deadline: true,
            always_ordered: false,
            window: Window::Inputs(ORDERED_WINDOW_OF_LINES),
            watches_repeats: false,
            progress: ProgressUnit::Inputs,
            first_signal: FirstSignal::Finish,
            twice: Twice::Harmless,
            crawls: false,
        }
    }

    fn facts(&self, plan: &Plan) -> Vec<Fact> {
        vec![
            Fact::new(COMMAND, "map"),
            Fact::new("the program", facts::command_line(self.0)),
            Fact::new("--raw", self.0.raw),
            Fact::new("--ordered", plan.ordered),
        ]
    }

    fn program(&self) -> Option<&MapSpec> {
        Some(self.0)
    }
}
