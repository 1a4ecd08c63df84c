//! This worker's copy of the job's cookie jar. The supervisor has the jar itself: it is told of each change before the
//! outcome that brought it, and passes on what other workers have changed. Here, a change counts at once.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use shared::clock;
use shared::cookies::{Cookie, Jar};
use url::Url;

/// The cookies of a job that keeps them. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cookies(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    jar: Jar,
    /// What the supervisor has not been told.
    changes: Vec<Cookie>,
}

impl Cookies {
    /// Takes in what the supervisor sends.
    pub(crate) fn take_in(&self, cookies: Vec<Cookie>) {
        let now = clock::wall_s();
        let mut known = self.lock();
        for cookie in cookies {
            known.jar.set(cookie, now);
        }
    }

    /// Returns what to tell the supervisor.
    pub(crate) fn changes(&self) -> Vec<Cookie> {
        mem::take(&mut self.lock().changes)
    }

    /// Adds the cookies for a URL to the headers of a request. They go after those that the user has set there.
    pub(super) fn send(&self, url: &Url, headers: &mut HeaderMap) {
        let Some(ours) = self.lock().jar.header(url, clock::wall_s()) else { return };
        let all = match headers.get(COOKIE) {
            Some(given) => [given.as_bytes(), b"; ", ours.as_bytes()].concat(),
            None => ours.into_bytes(),
        };
        // The jar has no control characters in it.
        if let Ok(mut value) = HeaderValue::from_bytes(&all) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }

    /// Keeps the cookies that an answer sets.
    pub(super) fn keep(&self, url: &Url, headers: &HeaderMap) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        let now = clock::wall_s();
        let mut known = self.lock();
        for header in headers.get_all(SET_COOKIE) {
            let changed = known.jar.on_header(header.as_bytes(), url, now);
            known.changes.extend(changed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
