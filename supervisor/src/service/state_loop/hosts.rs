//! Keeps what was learned about hosts (limits, paces, pauses) over restarts, in a file of the state directory.

use std::fs;
use std::time::Instant;

use shared::clock;

use super::{LEARNED_EVERY, StateLoop};
use crate::learned;
use crate::whole_file::{Readers, replace};

/// Its name in the state directory.
const FILE: &str = "hosts.json";

impl StateLoop {
    /// Continues with what the last service has learned.
    pub(super) fn remember_hosts(&self, now: Instant) {
        // Without it the service only searches again.
        let Ok(text) = fs::read_to_string(self.parts.config.state_dir.join(FILE)) else { return };
        let learned = learned::read(clock::wall(), &text);
        self.hosts.teach(now, &learned.into_iter().map(|(_, learned)| learned).collect::<Vec<_>>());
    }

    /// Writes what was learned so far. A crash loses at most a minute of it.
    pub(super) fn keep_hosts(&mut self, now: Instant) {
        self.learned_due = now + LEARNED_EVERY;
        let hosts = self.hosts.learned(now);
        let path = self.parts.config.state_dir.join(FILE);
        if hosts.is_empty() && !path.exists() {
            return;
        }
        if let Err(error) =
            replace(&path, Readers::Owner, learned::for_service(clock::wall(), hosts).as_bytes())
        {
            tracing::warn!(%error, "cannot keep what was learned about hosts");
        }
    }
}
