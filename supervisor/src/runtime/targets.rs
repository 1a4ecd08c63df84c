//! Fills the frontier from the feed, no further than memory and order allow.

use std::time::Instant;

use shared::clock;
use shared::job::Work;
use supervisor_core::frontier::HostRef;
use supervisor_core::gather::Ordered;
use supervisor_core::pool::Event;

use super::feed::FeedError;
use super::records::Given;
use super::{CHUNK_BYTES_MAX, Runtime};
use crate::source::SourceItem;

/// Targets kept in the frontier. Enough hosts to choose from when most of them
/// are waiting, and about 10 MiB.
const BACKLOG_MAX: u64 = 65_536;

/// Bytes of them: lines may be large. As much as workers go through in a tenth of a second, and little enough
/// to stay in the processor's cache. One target may be larger.
const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// With ordered output, no target is begun this far past the oldest unfinished one.
const ORDERED_WINDOW: u64 = 8_192;

/// The same where a target is a line: what two workers do in a tenth of a second.
const ORDERED_WINDOW_OF_LINES: u64 = 65_536;

/// The same for parts of files, each of which is many thousand rows: so many for each worker.
const PARTS_WINDOW: u64 = 8;

impl Runtime<'_> {
    pub(super) fn wants_targets(&self) -> bool {
        !self.source_told
            && self.pool.backlog() < BACKLOG_MAX
            && self.pool.backlog_bytes() < BACKLOG_BYTES_MAX
            && self.out.lines.len() < CHUNK_BYTES_MAX
            && self.in_window()
    }

    fn in_window(&self) -> bool {
        let begun = self.stage.feed.next_id();
        let window = match self.job.work {
            Work::Csv(_) => PARTS_WINDOW * (self.pool.workers() as u64).max(1),
            Work::Map(_) => ORDERED_WINDOW_OF_LINES,
            Work::Fetch(_) | Work::Parse(_) | Work::Sitemap(_) => ORDERED_WINDOW,
        };
        let begins = |ordered: &Ordered| begun < ordered.next_id() + window && !ordered.is_full();
        self.stage.ordered.as_deref().is_none_or(begins)
    }

    /// Fills the frontier from the feed.
    pub(super) fn take_targets(&mut self) {
        let now = clock::now();
        let mut took = false;
        while self.budget > 0 && self.wants_targets() {
            match self.stage.feed.try_next() {
                Ok(Some(item)) => {
                    self.budget -= 1;
                    took = true;
                    self.take(now, item);
                }
                Ok(None) => break,
                Err(error) => {
                    self.source_failed(now, &error);
                    return;
                }
            }
        }
        let done = self.budget == 0 || self.stage.feed.is_exhausted();
        if done && !self.source_told {
            self.source_told = true;
            self.pool.handle_event(now, Event::SourceEnded);
        } else if took {
            self.pool.handle_timeout(now);
        }
    }

    fn take(&mut self, now: Instant, item: SourceItem) {
        if let Some(why) = &item.refused {
            return self.refuse(item.id, Given { input: &item.input, kept: &item.kept }, why);
        }
        let host = item.host.as_ref().map(|host| HostRef { name: &host.name, loopback: host.loopback });
        if self.is_map() {
            self.pool.submit_lines(now, item.id, item.input, item.inputs);
        } else {
            self.pool.submit(now, item.id, item.input, item.kept, host);
        }
    }

    fn source_failed(&mut self, now: Instant, error: &FeedError) {
        self.source_told = true;
        self.ended.failure = Some(error.to_string());
        self.pool.handle_event(now, Event::Drain);
    }
}
