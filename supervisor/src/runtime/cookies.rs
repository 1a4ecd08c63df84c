//! Keeps the workers' copies of the cookie jar alike. A worker gets the whole jar after its job. Before each slice it
//! gets what others have changed since: the last change of each cookie, however many there were.
//!
//! Two workers may change one cookie at once. The change that arrives here last is the one that counts, and both end
//! with it: each is told how many of its own changes came first.

use std::collections::BTreeMap;
use std::time::Instant;

use rustc_hash::FxHashMap;
use shared::cookies::{Cookie, CookieKey, CookieUpdate};
use shared::protocol::ToWorker;
use supervisor_core::pool::{Event, Seat};

use super::Runtime;

/// Cookies whose last change is remembered. A worker that lacks an earlier change gets the whole jar.
const CHANGES_MAX: usize = 1000;

/// What the copies of the workers lack.
#[derive(Debug, Default)]
pub(super) struct Copies {
    copies: FxHashMap<Seat, Copy>,
    /// The number of the last change.
    last: u64,
    /// The last change of each cookie, by numbers.
    changes: BTreeMap<u64, (Seat, Cookie)>,
    numbers: FxHashMap<CookieKey, u64>,
    /// The number of the last change that is not remembered.
    forgotten: u64,
}

/// One worker's copy.
#[derive(Debug, Default)]
struct Copy {
    /// The number of the last change that it knows.
    knows: u64,
    /// How many of its own changes were taken in.
    taken: u64,
    /// How many of those it was told of.
    told: u64,
}

impl Copies {
    /// A worker has the whole jar.
    fn begin(&mut self, seat: Seat) {
        self.copies.insert(seat, Copy { knows: self.last, ..Copy::default() });
    }

    /// A session begins: all workers need the whole jar, and none of what they have is theirs any more.
    pub(super) fn begin_session(&mut self) {
        self.last += 1;
        self.forgotten = self.last;
        self.changes.clear();
        self.numbers.clear();
        for copy in self.copies.values_mut() {
            (copy.taken, copy.told) = (0, 0);
        }
    }

    /// A worker is gone.
    pub(super) fn forget(&mut self, seat: Seat) {
        self.copies.remove(&seat);
    }

    /// Notes that a worker sent `count` cookies, of which these were changes.
    fn note(&mut self, seat: Seat, count: usize, changes: Vec<Cookie>) {
        if let Some(copy) = self.copies.get_mut(&seat) {
            copy.taken += count as u64;
        }
        for cookie in changes {
            self.last += 1;
            if let Some(earlier) = self.numbers.insert(cookie.key(), self.last) {
                self.changes.remove(&earlier);
            }
            self.changes.insert(self.last, (seat, cookie));
            if self.changes.len() > CHANGES_MAX
                && let Some((number, (_, cookie))) = self.changes.pop_first()
            {
                self.forgotten = number;
                self.numbers.remove(&cookie.key());
            }
        }
    }

    /// Returns what a worker must know before its next slice; `all` returns all cookies.
    fn update(&mut self, seat: Seat, all: impl FnOnce() -> Vec<Cookie>) -> Option<CookieUpdate> {
        let copy = self.copies.get_mut(&seat)?;
        let whole = copy.knows < self.forgotten;
        let cookies = if whole {
            all()
        } else {
            let later = self.changes.range(copy.knows + 1..);
            later.filter(|(_, (by, _))| *by != seat).map(|(_, (_, cookie))| cookie.clone()).collect()
        };
        let is_told = !whole && cookies.is_empty() && copy.told == copy.taken;
        (copy.knows, copy.told) = (self.last, copy.taken);
        (!is_told).then_some(CookieUpdate { taken: copy.taken, whole, cookies, ..CookieUpdate::default() })
    }
}

impl Runtime<'_> {
    /// Gives a worker the jar, once it has its job.
    pub(super) fn send_jar(&mut self, seat: Seat) {
        let Some(cookies) = &self.cookies else { return };
        self.copies.begin(seat);
        let (session, profile) = cookies.session();
        let update = CookieUpdate { session, profile, taken: 0, whole: true, cookies: cookies.all() };
        if !update.cookies.is_empty() || session > 0 || profile > 0 {
            self.send(seat, ToWorker::Cookies(update));
        }
    }

    /// Tells a worker what others have changed, before it gets more targets.
    pub(super) fn send_changes(&mut self, seat: Seat) {
        let Some(cookies) = &self.cookies else { return };
        if let Some(update) = self.copies.update(seat, || cookies.all()) {
            let (session, profile) = cookies.session();
            self.send(seat, ToWorker::Cookies(CookieUpdate { session, profile, ..update }));
        }
    }

    /// Takes in what a worker has changed.
    pub(super) fn take_cookies(&mut self, now: Instant, seat: Seat, session: u32, set: Vec<Cookie>) {
        // Those of an earlier session must not replace any of this one.
        if self.cookies.as_ref().is_some_and(|cookies| cookies.session().0 != session) {
            return;
        }
        let count = set.len();
        let changes = match &self.cookies {
            Some(cookies) => cookies.take_in(set),
            None => Err("it sent cookies, and the job keeps none".to_owned()),
        };
        match changes {
            Ok(changes) => self.copies.note(seat, count, changes),
            Err(why) => return self.pool.handle_event(now, Event::Malformed(seat, why)),
        }
        // Before the outcomes that brought them.
        self.write_cookies_if_due(now);
    }

    /// Returns when the file of the cookies is to be written, if it is.
    pub(super) fn cookies_due(&self) -> Option<Instant> {
        self.cookies.as_ref().and_then(crate::cookies::Cookies::due)
    }

    /// Puts into the file what has changed, unless that was done just now.
    pub(super) fn write_cookies_if_due(&mut self, now: Instant) {
        if let Some(Err(error)) = self.cookies.as_ref().map(|cookies| cookies.write_if_due(now)) {
            self.parts.observer.message(&error.to_string());
        }
    }

    /// Puts into the file what the run has changed.
    pub(super) fn write_cookies(&mut self) {
        if let Some(Err(error)) = self.cookies.as_ref().map(crate::cookies::Cookies::write) {
            self.parts.observer.message(&error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEATS: [Seat; 3] =
        [Seat { slot: 0, generation: 1 }, Seat { slot: 1, generation: 1 }, Seat { slot: 2, generation: 1 }];

    fn cookie(name: &str, value: &str) -> Cookie {
        Cookie {
            domain: "a.example".to_owned(),
            host_only: true,
            path: "/".to_owned(),
            secure: false,
            http_only: false,
            expires: None,
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    fn copies() -> Copies {
        let mut copies = Copies::default();
        SEATS.into_iter().for_each(|seat| copies.begin(seat));
        copies
    }

    #[test]
    fn each_worker_is_told_of_the_last_change_of_the_others() {
        let (mut copies, [one, two, three]) = (copies(), SEATS);
        let none = || panic!("nobody needs the whole jar");
        for n in 0..10_000 {
            copies.note(one, 1, vec![cookie("a", &n.to_string())]);
        }
        copies.note(two, 1, vec![cookie("b", "1")]);
        assert_eq!((copies.changes.len(), copies.numbers.len()), (2, 2));
        let last = vec![cookie("a", "9999"), cookie("b", "1")];
        let told = |taken, cookies: &[Cookie]| {
            Some(CookieUpdate { taken, cookies: cookies.to_vec(), ..CookieUpdate::default() })
        };
        assert_eq!(copies.update(three, none), told(0, &last));
        assert_eq!(copies.update(two, none), told(1, &last[..1]));
        assert_eq!(copies.update(one, none), told(10_000, &last[1..]));
        for seat in SEATS {
            assert_eq!(copies.update(seat, none), None, "each knows all");
        }
        copies.note(one, 1, vec![]);
        assert_eq!(copies.update(one, none), told(10_001, &[]), "it changed nothing, and was taken in");
        copies.forget(one);
        assert_eq!(copies.update(one, none), None);
    }

    #[test]
    fn a_worker_that_is_far_behind_gets_the_jar_and_memory_has_an_end() {
        let (mut copies, [one, two, _]) = (copies(), SEATS);
        for n in 0..3 * CHANGES_MAX {
            copies.note(one, 1, vec![cookie(&n.to_string(), "1")]);
        }
        assert_eq!((copies.changes.len(), copies.numbers.len()), (CHANGES_MAX, CHANGES_MAX));
        let update = copies.update(two, || vec![cookie("all", "1")]).unwrap();
        assert!(update.whole);
        assert_eq!(update.cookies, [cookie("all", "1")]);
        assert_eq!(copies.update(two, Vec::new), None);
    }
}
