//! Keeps the workers' copies of the cookie jar alike. A worker gets the whole jar after its job, then each change that
//! another one makes, before the slices that follow.

use std::time::Instant;

use shared::cookies::Cookie;
use shared::protocol::ToWorker;
use supervisor_core::pool::{Event, Seat};

use super::Runtime;

impl Runtime<'_> {
    /// Gives a worker the jar, once it has its job.
    pub(super) fn send_cookies(&mut self, seat: Seat) {
        let Some(cookies) = &self.cookies else { return };
        let all = cookies.all();
        self.with_cookies.insert(seat);
        if !all.is_empty() {
            self.send(seat, ToWorker::Cookies(all));
        }
    }

    /// Takes in what a worker has changed.
    pub(super) fn take_cookies(&mut self, now: Instant, seat: Seat, changes: Vec<Cookie>) {
        let Some(cookies) = &self.cookies else {
            let why = "it sent cookies, and the job keeps none".to_owned();
            return self.pool.handle_event(now, Event::Malformed(seat, why));
        };
        let changes = cookies.take_in(changes);
        if let Err(error) = cookies.write_if_due(now) {
            self.parts.observer.message(&error.to_string());
        }
        if changes.is_empty() {
            return;
        }
        for other in self.with_cookies.iter().filter(|other| **other != seat) {
            self.send(*other, ToWorker::Cookies(changes.clone()));
        }
    }

    /// Puts into the file what the run has changed.
    pub(super) fn write_cookies(&mut self) {
        if let Some(Err(error)) = self.cookies.as_ref().map(crate::cookies::Cookies::write) {
            self.parts.observer.message(&error.to_string());
        }
    }
}
