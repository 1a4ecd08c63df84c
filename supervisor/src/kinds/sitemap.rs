//! Reading sitemaps, which a fetch job with `--sitemap` does first: a target is the URL of a sitemap.
//! Which these are is known level by level, so the engine makes the targets.

use shared::job::{FetchSpec, SITEMAP_BYTES_MAX, Work};
use shared::record::ErrorKind;
use supervisor_core::frontier::Politeness;

use super::facts::Fact;
use super::{Auto, FirstSignal, Kind, ORDERED_WINDOW, ProgressUnit, Rules, Window};
use crate::format::Format;
use crate::plan::{Input, Plan, Sitemaps, Twice};
use crate::source::TargetKind;

/// A job that reads sitemaps.
pub(super) struct Sitemap<'a>(pub(super) &'a FetchSpec);

impl Kind for Sitemap<'_> {
    fn rules(&self) -> Rules {
        Rules {
            target: TargetKind::Url,
            refused_as: ErrorKind::InvalidUrl,
            auto: Auto::Waits { body_bytes_max: self.0.body_bytes_max },
            wait_max: self.0.timeout,
            has_deadline: true,
            // Listings are matched with their sitemaps by position.
            always_ordered: true,
            window: Window::Inputs(ORDERED_WINDOW),
            watches_repeats: false,
            progress: ProgressUnit::Inputs,
            first_signal: FirstSignal::Finish,
            twice: Twice::Harmless,
            crawls: false,
        }
    }

    /// Part of a fetch job, and never resumed alone.
    fn facts(&self, _: &Plan) -> Vec<Fact> {
        Vec::new()
    }
}

/// Returns the job that reads the sitemaps of `plan`, if it has any, and which they are.
pub(crate) fn reading(plan: &Plan) -> Option<(Plan, &Sitemaps)> {
    let sitemaps = plan.inputs.iter().find_map(|input| match input {
        Input::Sitemaps(sitemaps) => Some(sitemaps),
        Input::Literal(_)
        | Input::Lines(_)
        | Input::StdinLines
        | Input::CsvColumn(..)
        | Input::JsonColumn(..)
        | Input::ParquetColumn(..)
        | Input::Tree(_) => None,
    })?;
    let Work::Fetch(spec) = &plan.work else { return None };
    let plan = Plan {
        // Fetched as the pages are, apart from the size, which the sitemaps protocol sets, and what is sent.
        work: Work::Sitemap(FetchSpec {
            body_bytes_max: SITEMAP_BYTES_MAX,
            save: None,
            request: None,
            login: None,
            ..spec.clone()
        }),
        // A robots.txt is about pages, and the user has named these.
        politeness: Politeness { obeys_robots: false, ..plan.politeness },
        inputs: Vec::new(),
        fields: Vec::new(),
        object: None,
        format: Format::default(),
        split: None,
        ..plan.clone()
    };
    Some((plan, sitemaps))
}
