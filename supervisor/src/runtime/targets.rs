//! Fills the frontier from the feed, as far as memory and order allow.

use std::time::Instant;

use shared::clock;
use shared::pages::page_of;
use shared::record::ErrorKind;
use supervisor_core::frontier::HostRef;
use supervisor_core::gather::Ordered;
use supervisor_core::pool::Event;

use super::feed::FeedError;
use super::handing::UNCERTAIN;
use super::pages::Paging;
use super::records::Given;
use super::robots::RobotsGate;
use super::{CHUNK_BYTES_MAX, Runtime};
use crate::kinds::Window;
use crate::source::{SourceItem, TargetKind};

/// Most targets kept in the frontier: enough hosts to choose from while most of them wait,
/// in about 10 MiB.
const BACKLOG_MAX: u64 = 65_536;

/// Most bytes of them, because lines may be large: as much as workers do in a tenth of a second, and little
/// enough to stay in the processor's cache. One target may be larger.
const BACKLOG_BYTES_MAX: usize = 8 << 20;

impl Runtime<'_> {
    pub(super) fn wants_targets(&self) -> bool {
        !self.source_told && !self.is_source_done() && self.has_room_for_targets()
    }

    /// Whether nothing more will be read.
    fn is_source_done(&self) -> bool {
        self.budget == 0 || self.parts.feed.is_exhausted()
    }

    fn has_room_for_targets(&self) -> bool {
        let (held, held_bytes) = self.robots.as_ref().map_or((0, 0), RobotsGate::held);
        self.pool.backlog() + held < BACKLOG_MAX
            && self.pool.backlog_bytes() + held_bytes < BACKLOG_BYTES_MAX
            && self.out.bytes() < CHUNK_BYTES_MAX
            && self.in_window()
    }

    fn in_window(&self) -> bool {
        let begun = self.parts.feed.next_id();
        let window = match self.rules.window {
            Window::Inputs(inputs) => inputs,
            Window::PerWorker(targets) => targets * (self.pool.workers() as u64).max(1),
        };
        let begins = |ordered: &Ordered| begun < ordered.next_id() + window && !ordered.is_full();
        self.parts.ordered.as_deref().is_none_or(begins)
    }

    /// Fills the frontier from the feed.
    pub(super) fn take_targets(&mut self) {
        let now = clock::now();
        let mut took = false;
        while self.wants_targets() {
            match self.parts.feed.try_next() {
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
        took |= self.ask_for_robots(now) | self.paging.as_mut().is_some_and(Paging::take_asked);
        let waits = self.robots.as_ref().is_some_and(RobotsGate::holds_any);
        // Any page that has no record yet may lead to another one.
        let leads_on = self.paging.is_some() && self.inputs_left() > 0;
        if self.is_source_done() && !waits && !leads_on && !self.source_told {
            self.source_told = true;
            self.pool.handle_event(now, Event::SourceEnded);
        } else if took {
            self.pool.handle_timeout(now);
        }
    }

    pub(super) fn take(&mut self, now: Instant, item: SourceItem) {
        if let Some(why) = &item.refused {
            let kind = self.rules.refused_as;
            return self.refuse(item.id, Given { input: &item.input, kept: &item.kept }, kind, why);
        }
        if self.parts.uncertain.contains(item.id) {
            let given = Given { input: &item.input, kept: &item.kept };
            return self.refuse(item.id, given, ErrorKind::Uncertain, UNCERTAIN);
        }
        if self.robots.is_some() { self.ask_robots(now, item) } else { self.submit(now, item) }
    }

    /// Hands a target to the pool.
    pub(super) fn submit(&mut self, now: Instant, item: SourceItem) {
        let host = item.host.as_ref().map(|host| HostRef { name: &host.name, local: host.local });
        match self.rules.target {
            TargetKind::Lines => self.pool.submit_lines(now, item.id, item.input, item.inputs),
            // A list that has begun is ended first, so that few are open at a time.
            TargetKind::Url if self.paging.is_some() && page_of(item.id) > 1 => {
                self.pool.submit_first(now, item.id, item.input, item.kept, host)
            }
            TargetKind::Url | TargetKind::Path => self.pool.submit(now, item.id, item.input, item.kept, host),
        };
    }

    fn source_failed(&mut self, now: Instant, error: &FeedError) {
        self.source_told = true;
        self.ended.failure = Some(error.to_string());
        self.ended.lacks_descriptors = matches!(error, FeedError::Source(error) if error.lacks_descriptors());
        self.pool.handle_event(now, Event::Drain);
    }
}
