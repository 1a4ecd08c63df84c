//! What the sample learns of robots.txt files: their delays, and which of them must still be asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use shared::clock;
use shared::robots::RobotsFile;
use supervisor_core::robots::CRAWL_DELAY_MAX;
use url::Url;

use super::list::Sampled;
use crate::kinds;
use crate::plan::Plan;
use crate::robots::{Askers, RobotsCache};

/// The files that were fetched, by who asked for them.
pub(super) struct Known {
    cache: RobotsCache,
    askers: Askers,
}

impl Known {
    /// Knows none yet. `None` if the job does not obey them.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let kind = kinds::of(&plan.work);
        let token = kind.robots_token().filter(|_| plan.politeness.obeys_robots)?;
        let cache = RobotsCache::default();
        let askers = cache.askers(token, kind.secrets().as_deref());
        Some(Self { cache, askers })
    }

    /// Where a run reads what is known, and adds what it learns.
    pub(super) fn cache(&self) -> RobotsCache {
        self.cache.clone()
    }

    /// How many files a run of these targets asks for.
    pub(super) fn unknown<'s>(&self, targets: impl Iterator<Item = &'s Sampled>) -> u64 {
        let now = clock::now();
        let authorities: FxHashSet<_> = targets.filter_map(authority).collect();
        authorities.iter().filter(|one| self.get(now, one).is_none()).count() as u64
    }

    /// The delay that the host of a target asks for; `None` if its file is not known.
    pub(super) fn delay(&self, target: &Sampled) -> Option<Duration> {
        let file = self.get(clock::now(), &authority(target)?)?;
        let delay = file.and_then(|file| file.crawl_delay()).unwrap_or_default();
        Some(delay.min(CRAWL_DELAY_MAX))
    }

    /// The robots.txt of an authority, for all targets there.
    fn get(&self, now: Instant, authority: &Arc<str>) -> Option<Option<Arc<RobotsFile>>> {
        let mut known = [false, true].into_iter();
        known.find_map(|found| self.cache.get(now, self.askers.of(found), authority)).map(|(file, _)| file)
    }
}

fn authority(target: &Sampled) -> Option<Arc<str>> {
    let url = Url::parse(str::from_utf8(&target.input).ok()?).ok()?;
    Some(url.origin().ascii_serialization().into())
}
