//! `--proxy-sticky session`: the proxy of a session. A session that is logged in keeps its proxy to its end; if the proxy
//! fails, the session is over. Any other session moves to another proxy then.

use std::time::Instant;

use super::{Proxies, WAIT};

/// The proxy of the session.
#[derive(Debug, Default)]
pub(super) struct SessionExit {
    place: Option<usize>,
    /// Whether the session cannot move to another proxy, because its server would notice.
    is_bound: bool,
    /// Whether it would have had to.
    is_broken: bool,
}

impl Proxies {
    /// Begins a session, with this proxy if it is to have a certain one.
    pub(crate) fn begin_session(&mut self, place: Option<u16>) {
        if let Some(session) = &mut self.session {
            let place = place.map(usize::from).filter(|place| *place < self.list.len());
            *session = SessionExit { place, ..SessionExit::default() };
        }
    }

    /// The session is logged in: from now on it keeps its proxy.
    pub(crate) const fn bind_session(&mut self) {
        if let Some(session) = &mut self.session {
            session.is_bound = true;
        }
    }

    /// The proxy of the session, if it has one.
    pub(crate) fn session_exit(&self) -> Option<u16> {
        let place = self.session.as_ref()?.place?;
        u16::try_from(place).ok()
    }

    /// Whether the session is over, because its proxy has failed and others may work.
    pub(crate) fn is_session_broken(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_broken)
    }

    /// Returns the proxy of the session, or how long to wait for it. The target was last sent through `avoided`.
    pub(super) fn of_session(&mut self, now: Instant, avoided: Option<usize>) -> Result<usize, Instant> {
        let current = self.session.as_ref().and_then(|session| session.place);
        let is_bound = self.session.as_ref().is_some_and(|session| session.is_bound);
        let wait = |due: Option<Instant>| due.unwrap_or(now + WAIT).max(now + WAIT);
        if let Some(place) = current
            && let Some(proxy) = self.list.get(place)
        {
            let works = !proxy.is_failing();
            if works && proxy.is_ready(now) {
                return Ok(place);
            }
            let has_others = (0..self.list.len()).any(|other| {
                other != place && self.list.get(other).is_some_and(|other| !other.is_hopeless())
            });
            if works || !has_others {
                return if proxy.is_ready(now) { Ok(place) } else { Err(wait(proxy.rests_until())) };
            }
            if is_bound {
                if let Some(session) = &mut self.session {
                    session.is_broken = true;
                }
                return Err(now + WAIT);
            }
        }
        let avoided = avoided.or(current);
        let best = self.best(now, 0, avoided).or_else(|| self.least_banned(now, 0, avoided));
        let Some(place) = best else {
            let due = self.next_due().filter(|_| !self.awaits_probe());
            return Err(wait(due));
        };
        if let Some(session) = &mut self.session {
            session.place = Some(place);
        }
        Ok(place)
    }
}
