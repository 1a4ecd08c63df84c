//! This worker's copy of the job's cookie jar. The supervisor has the jar itself: it is told of each change before the
//! outcome that brought it, and passes on what other workers have changed. Here, a change counts at once.
//!
//! Every worker gets the whole jar, because a redirect may lead anywhere. A worker that was taken over can therefore
//! read all cookies of its job, and set any that some server may set.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use shared::clock;
use shared::cookies::{Cookie, CookieKey, CookieUpdate, Jar};
use url::Url;

/// The cookies of a job that keeps them. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cookies(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The session that the cookies belong to, and its header profile.
    session: u32,
    profile: u16,
    jar: Jar,
    /// What the supervisor has not been told.
    changes: Vec<Cookie>,
    /// How many changes there have been.
    changed: u64,
    /// The number of the last change of each cookie that the supervisor is not known to have taken in. It will be the
    /// later one there.
    untaken: HashMap<CookieKey, u64>,
}

impl Cookies {
    /// Takes in what the supervisor sends.
    pub(crate) fn take_in(&self, update: CookieUpdate) {
        let now = clock::wall_s();
        let known = &mut *self.lock();
        if update.session != known.session {
            *known = Known { session: update.session, ..Known::default() };
        }
        known.profile = update.profile;
        let Known { jar, untaken, .. } = known;
        untaken.retain(|_, number| *number > update.taken);
        if update.whole {
            jar.retain(|cookie| untaken.contains_key(&cookie.key()));
        }
        for cookie in update.cookies {
            if untaken.is_empty() || !untaken.contains_key(&cookie.key()) {
                jar.set(cookie, now);
            }
        }
    }

    /// Returns what to tell the supervisor, and the session that it belongs to.
    pub(crate) fn changes(&self) -> (u32, Vec<Cookie>) {
        let mut known = self.lock();
        (known.session, mem::take(&mut known.changes))
    }

    /// The session that this worker is in, and its header profile.
    pub(super) fn session(&self) -> (u32, u16) {
        let known = self.lock();
        (known.session, known.profile)
    }

    /// Adds the cookies for a URL to the headers of a request. They go after those that the user has set there. A request
    /// that belongs to another `session` gets none.
    pub(super) fn send(&self, url: &Url, session: u32, headers: &mut HeaderMap) {
        let mut known = self.lock();
        let Some(ours) = Some(&mut *known)
            .filter(|known| known.session == session)
            .and_then(|known| known.jar.header(url, clock::wall_s()))
        else {
            return;
        };
        let given = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let all = given.chain([ours.as_bytes()]).collect::<Vec<_>>().join(b"; ".as_slice());
        // The jar has no control characters in it.
        if let Ok(mut value) = HeaderValue::from_bytes(&all) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }

    /// Keeps the cookies that an answer sets, if it belongs to this `session`.
    pub(super) fn keep(&self, url: &Url, session: u32, headers: &HeaderMap) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        let now = clock::wall_s();
        let mut known = self.lock();
        if known.session != session {
            return;
        }
        for header in headers.get_all(SET_COOKIE) {
            if let Some(changed) = known.jar.on_header(header.as_bytes(), url, now) {
                known.changed += 1;
                let number = known.changed;
                known.untaken.insert(changed.key(), number);
                known.changes.push(changed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Url {
        Url::parse("http://a.example/").unwrap()
    }

    fn keep(cookies: &Cookies, header: &'static str) -> Cookie {
        cookies.keep(&page(), 0, &HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static(header))]));
        cookies.changes().1.pop().unwrap()
    }

    fn sent(cookies: &Cookies) -> String {
        let mut headers = HeaderMap::new();
        cookies.send(&page(), cookies.session().0, &mut headers);
        headers.get(COOKIE).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_change_that_is_under_way_is_the_later_one() {
        let (ours, other) = (Cookies::default(), Cookies::default());
        let theirs = keep(&other, "a=theirs");
        keep(&ours, "a=1");
        keep(&ours, "a=2");
        let update = |taken| CookieUpdate { taken, cookies: vec![theirs.clone()], ..CookieUpdate::default() };
        for (taken, want) in [(0, "a=2"), (1, "a=2"), (2, "a=theirs")] {
            ours.take_in(update(taken));
            assert_eq!(sent(&ours), want, "{taken}");
        }
    }

    #[test]
    fn a_whole_jar_replaces_what_the_supervisor_knows() {
        let (ours, other) = (Cookies::default(), Cookies::default());
        let theirs = keep(&other, "b=theirs");
        keep(&ours, "old=1");
        keep(&ours, "new=2");
        ours.take_in(CookieUpdate {
            taken: 1,
            whole: true,
            cookies: vec![theirs],
            ..CookieUpdate::default()
        });
        assert_eq!(sent(&ours), "new=2; b=theirs");
    }

    #[test]
    fn what_belongs_to_an_earlier_session_is_neither_kept_nor_sent() {
        let (ours, other) = (Cookies::default(), Cookies::default());
        keep(&ours, "sid=old");
        let next = keep(&other, "sid=new");
        ours.take_in(CookieUpdate { session: 1, profile: 2, whole: true, cookies: vec![next], taken: 0 });
        assert_eq!((ours.session(), sent(&ours).as_str()), ((1, 2), "sid=new"));
        let late = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static("sid=late"))]);
        ours.keep(&page(), 0, &late);
        assert_eq!((sent(&ours).as_str(), ours.changes()), ("sid=new", (1, Vec::new())));
        let mut headers = HeaderMap::new();
        ours.send(&page(), 0, &mut headers);
        assert!(headers.is_empty());
    }
}
