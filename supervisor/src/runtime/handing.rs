//! Hands slices to workers. If no target may be sent twice, a slice first waits until the journal has a note of its
//! targets; all that come meanwhile get the next note together, so that each costs a part of one sync.

use std::time::Instant;

use crossbeam_channel::TryRecvError;
use shared::protocol::{OWN_IDS, Slice, ToWorker};
use supervisor_core::pool::{Event, Seat};

use super::Runtime;

/// Why an input that may have been sent is not sent again.
pub(super) const UNCERTAIN: &str = "its request may have been sent before the run was killed; not sent again";

/// Slices that wait for a note.
#[derive(Debug, Default)]
pub(super) struct Handing {
    waiting: Vec<(Seat, Slice)>,
    /// Those of which a note is being written.
    noting: Vec<(Seat, Slice)>,
}

impl Runtime<'_> {
    /// Hands a slice over, now or after a note.
    pub(super) fn hand(&mut self, seat: Seat, slice: Slice) {
        let has_inputs = slice.targets.iter().any(|target| !target.is_own());
        if has_inputs && self.parts.queue.notes().is_some() {
            self.handing.waiting.push((seat, slice));
        } else {
            self.hand_over(seat, slice);
        }
    }

    fn hand_over(&mut self, seat: Seat, slice: Slice) {
        self.send_changes(seat);
        self.send(seat, ToWorker::Slice(slice));
    }

    /// Asks for a note of all slices that wait, unless one is being written.
    pub(super) fn note_slices(&mut self) {
        let Some(notes) = self.parts.queue.notes() else { return };
        if self.handing.waiting.is_empty() || !self.handing.noting.is_empty() {
            return;
        }
        let slices = std::mem::take(&mut self.handing.waiting);
        let ids = slices.iter().flat_map(|(_, slice)| &slice.targets).map(|target| target.id);
        notes.note(ids.filter(|id| *id < OWN_IDS).collect());
        self.handing.noting = slices;
    }

    /// Hands over the slices of which there is a note now.
    pub(super) fn take_note(&mut self, now: Instant) {
        let Some(notes) = self.parts.queue.notes() else { return };
        match notes.noted().try_recv() {
            Ok(()) => {
                for (seat, slice) in std::mem::take(&mut self.handing.noting) {
                    self.hand_over(seat, slice);
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.on_journal_failed(now),
        }
    }

    /// Tells the pool whose records are committed.
    pub(super) fn take_settled(&mut self, now: Instant) {
        loop {
            match self.parts.queue.settled().try_recv() {
                Ok(ids) => self.pool.handle_event(now, Event::Settled(ids)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => break self.on_journal_failed(now),
            }
        }
    }

    /// Ends the run, if that is not done already. The writer says why.
    fn on_journal_failed(&mut self, now: Instant) {
        if !self.ended.output_failed {
            self.ended.output_failed = true;
            self.killed = true;
            self.pool.handle_event(now, Event::Kill);
        }
    }
}
