//! What is known of names, and who waits for which. Reads no clock.
//!
//! The system does not report the TTL of a record, so each answer counts for a fixed time. An address that has
//! expired still counts if its name cannot be looked up for now (RFC 8767).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::fault::Fault;
use super::Answer;

/// How long an address stays cached. Browsers, which do not see the TTL either, use a minute.
const POSITIVE_TTL: Duration = Duration::from_secs(60);

/// How long it stays cached that a name has no address: long enough for a burst of URLs of one dead host.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// How long a failure stays cached that may pass (RFC 9520 § 3.2: at least a second). No longer, so that the next
/// attempt at the target asks again.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Maximum names in the cache, at about 150 bytes each.
const NAMES_MAX: usize = 20_000;

/// Gets the answer to a question.
pub(super) type Waiter = Box<dyn FnOnce(Answer) + Send>;

/// Known answers and pending lookups.
#[derive(Default)]
pub(super) struct Cache {
    names: HashMap<Arc<str>, Entry>,
}

enum Entry {
    Known {
        answer: Answer,
        until: Instant,
    },
    Asked {
        waiters: Vec<Waiter>,
        /// Addresses that have expired.
        stale: Option<Arc<[IpAddr]>>,
    },
}

impl Entry {
    fn addresses(&self) -> Option<Arc<[IpAddr]>> {
        match self {
            Self::Known { answer: Ok(addresses), .. } => Some(Arc::clone(addresses)),
            Self::Known { .. } => None,
            Self::Asked { stale, .. } => stale.clone(),
        }
    }
}

/// Moves an address to the front, if it is there.
fn put_first(addresses: &mut Arc<[IpAddr]>, first: IpAddr) {
    if let Some(at @ 1..) = addresses.iter().position(|address| *address == first) {
        let mut ordered = addresses.to_vec();
        if let Some(start) = ordered.get_mut(..=at) {
            start.rotate_right(1);
        }
        *addresses = Arc::from(ordered);
    }
}

/// What became of a question.
pub(super) enum Asked {
    Known(Answer),
    Waiting,
    /// No lookup of this name is pending: the caller must start one.
    First(Arc<str>),
}

impl Cache {
    pub(super) fn ask(&mut self, host: &str, waiter: Waiter, now: Instant) -> Asked {
        match self.names.get_mut(host) {
            Some(Entry::Known { answer, until }) if *until > now => Asked::Known(answer.clone()),
            Some(Entry::Asked { waiters, .. }) => {
                waiters.push(waiter);
                Asked::Waiting
            }
            Some(expired @ Entry::Known { .. }) => {
                let stale = expired.addresses();
                *expired = Entry::Asked { waiters: vec![waiter], stale };
                Asked::First(Arc::from(host))
            }
            None => {
                self.make_room(now);
                let name: Arc<str> = Arc::from(host);
                self.names.insert(Arc::clone(&name), Entry::Asked { waiters: vec![waiter], stale: None });
                Asked::First(name)
            }
        }
    }

    /// Takes in an answer. Returns what to tell whom.
    pub(super) fn answer(
        &mut self,
        name: &Arc<str>,
        mut answer: Answer,
        now: Instant,
    ) -> (Answer, Vec<Waiter>) {
        let ttl = match &answer {
            Ok(_) => POSITIVE_TTL,
            // A shortage says nothing about the name.
            Err(Fault::Shortage(_)) => Duration::ZERO,
            Err(Fault::Dns { may_pass: true, .. }) => FAILURE_TTL,
            Err(_) => NEGATIVE_TTL,
        };
        let (waiters, stale) = match self.names.remove(name) {
            Some(Entry::Asked { waiters, stale }) => (waiters, stale),
            Some(Entry::Known { .. }) | None => (Vec::new(), None),
        };
        match (&mut answer, stale) {
            (Err(Fault::Dns { may_pass: true, .. }), Some(stale)) => answer = Ok(stale),
            // What was known to be dead probably still is.
            (Ok(addresses), Some(stale)) => {
                if let Some(first) = stale.first() {
                    put_first(addresses, *first);
                }
            }
            (Ok(_) | Err(_), _) => {}
        }
        self.names.insert(Arc::clone(name), Entry::Known { answer: answer.clone(), until: now + ttl });
        (answer, waiters)
    }

    /// Puts the address of a host first that took a connection.
    pub(super) fn prefer(&mut self, host: &str, winner: IpAddr) {
        if let Some(Entry::Known { answer: Ok(addresses), .. }) = self.names.get_mut(host) {
            put_first(addresses, winner);
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.names.len() < NAMES_MAX {
            return;
        }
        self.names.retain(|_, entry| !matches!(entry, Entry::Known { until, .. } if *until <= now));
        if self.names.len() >= NAMES_MAX {
            self.names.retain(|_, entry| matches!(entry, Entry::Asked { .. }));
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::clock;

    use super::super::no_address;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn nobody() -> Waiter {
        Box::new(|_| ())
    }

    fn found(last: &[u8]) -> Answer {
        Ok(last.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect())
    }

    fn failed(may_pass: bool) -> Answer {
        Err(no_address("a", "none", may_pass))
    }

    /// Asks for a name that nobody has asked for, or that has expired.
    fn first(cache: &mut Cache, name: &str, now: Instant) -> Arc<str> {
        let Asked::First(name) = cache.ask(name, nobody(), now) else { panic!("{name} is known") };
        name
    }

    #[test]
    fn an_answer_is_cached_until_it_expires() {
        for (answer, ttl) in
            [(found(&[1]), POSITIVE_TTL), (failed(false), NEGATIVE_TTL), (failed(true), FAILURE_TTL)]
        {
            let (mut cache, now) = (Cache::default(), clock::now());
            let name = first(&mut cache, "a", now);
            assert!(matches!(cache.ask("a", nobody(), now), Asked::Waiting));
            assert_eq!(cache.answer(&name, answer.clone(), now).1.len(), 2);
            let before = now + ttl - SECOND / 2;
            assert!(matches!(cache.ask("a", nobody(), before), Asked::Known(a) if a == answer));
            assert!(matches!(cache.ask("a", nobody(), now + ttl), Asked::First(_)));
        }
    }

    #[test]
    fn an_expired_address_counts_while_there_is_no_other() {
        let (mut cache, now) = (Cache::default(), clock::now());
        let name = first(&mut cache, "a", now);
        drop(cache.answer(&name, found(&[1, 2]), now));
        cache.prefer("a", IpAddr::from([192, 0, 2, 2]));
        let now = now + POSITIVE_TTL;
        first(&mut cache, "a", now);
        assert_eq!(cache.answer(&name, failed(true), now).0, found(&[2, 1]));
        let now = now + FAILURE_TTL;
        first(&mut cache, "a", now);
        assert_eq!(cache.answer(&name, found(&[1, 3, 2]), now).0, found(&[2, 1, 3]));
        let now = now + POSITIVE_TTL;
        first(&mut cache, "a", now);
        assert_eq!(cache.answer(&name, failed(false), now).0, failed(false), "it is gone");
    }

    #[test]
    fn a_full_cache_keeps_the_names_that_are_waited_for() {
        let (mut cache, now) = (Cache::default(), clock::now());
        first(&mut cache, "waiting", now);
        for i in 0..=NAMES_MAX {
            let name = first(&mut cache, &i.to_string(), now);
            drop(cache.answer(&name, found(&[1]), now));
        }
        assert!(cache.names.len() <= NAMES_MAX);
        assert!(matches!(cache.ask("waiting", nobody(), now), Asked::Waiting));
    }
}
