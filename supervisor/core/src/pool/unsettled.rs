//! Limits what is done twice after a crash, in jobs where servers may act twice on it.
//!
//! What a server has answered is certain only once its record is committed. Until then, the target keeps its place among
//! those in flight: its host's, and the pool's. So what is done twice after a crash is at most what may be in flight.

use std::time::Instant;

use rustc_hash::FxHashMap;
use wire::protocol::OWN_IDS;

use super::Pool;
use crate::frontier::{Answer, HostId};

/// Targets that have ended, and whose records are not committed: with their hosts, and how they ended.
#[derive(Debug, Default)]
pub(super) struct Unsettled(FxHashMap<u64, (HostId, Answer)>);

impl Unsettled {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Pool {
    /// Lets a target go that a worker has had for the last time. Its place becomes free, now or with its record.
    pub(super) fn free_place(&mut self, now: Instant, id: u64, host: HostId, answer: Answer) {
        if self.config.settles && id < OWN_IDS {
            self.unsettled.0.insert(id, (host, answer));
        } else {
            self.frontier.release(now, host, answer);
        }
    }

    /// Frees the places of targets whose records are certain. Those of other targets do not matter.
    pub(super) fn settled(&mut self, now: Instant, ids: &[u64]) {
        for id in ids {
            if let Some((host, answer)) = self.unsettled.0.remove(id) {
                self.frontier.release(now, host, answer);
            }
        }
    }
}
