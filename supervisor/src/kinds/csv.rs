//! `csv`: a target is a part of a CSV file, and its result is the part's groups.

use std::path::PathBuf;
use std::time::Duration;

use shared::csv::{CsvSpec, read_part};
use shared::record::ErrorKind;
use supervisor_core::pool::Quarantined;

use super::facts::{COMMAND, Fact};
use super::{Auto, FirstSignal, Kind, ProgressUnit, Rules, Spooled, Window};
use crate::plan::{Plan, Twice};
use crate::source::{Ranges, TargetKind, Targets, shown_part};

/// Parts that are in work ahead of the oldest unfinished one, for each worker. A part has many
/// thousand rows.
const PARTS_WINDOW: u64 = 8;

/// A csv job.
pub(super) struct Csv<'a>(pub(super) &'a CsvSpec);

impl Kind for Csv<'_> {
    fn rules(&self) -> Rules {
        Rules {
            target: TargetKind::Path,
            refused_as: ErrorKind::Parse,
            auto: Auto::Computes {
                targets_max: Some(u32::try_from(Ranges::parts_max(&self.0.files)).unwrap_or(u32::MAX)),
                why: "aggregating computes and does not wait",
            },
            wait_max: Duration::ZERO,
            // A part may be a whole file and take hours.
            has_deadline: false,
            // Groups are merged in the order of the file.
            always_ordered: true,
            window: Window::PerWorker(PARTS_WINDOW),
            watches_repeats: false,
            progress: ProgressUnit::Bytes,
            first_signal: FirstSignal::End,
            twice: Twice::Harmless,
            crawls: false,
        }
    }

    /// The table is written as a whole at the end, and never resumed.
    fn facts(&self, _: &Plan) -> Vec<Fact> {
        vec![Fact::new(COMMAND, "csv")]
    }

    fn readable(&self, _: &Plan) -> Option<Vec<PathBuf>> {
        Some(self.0.files.iter().filter(|file| !file.held).map(|file| file.at.clone()).collect())
    }

    fn targets(&self, _: &Plan, _: Spooled) -> Box<dyn Targets + Send> {
        Box::new(Ranges::all(self.0.files.clone()))
    }

    fn grouping(&self) -> Option<&CsvSpec> {
        Some(self.0)
    }

    /// Groups that lack a part would be wrong, however small the part.
    fn fails_without(&self, quarantined: &Quarantined) -> Option<String> {
        let part = read_part(&quarantined.input);
        let file = part.and_then(|part| self.0.files.get(part.file() as usize));
        let shown = part.zip(file).map(|(part, file)| shown_part(&file.path, part)).unwrap_or_default();
        Some(format!("{shown}: {}", quarantined.message))
    }
}
