//! What was learned about hosts, as kept between two runs: JSON, in a journal and in the state of the service.
//!
//! It only saves a search, so text that is missing, damaged or from another version counts as nothing learned.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use supervisor_core::frontier::Learned;

use crate::source::Host;

/// Most hosts that are kept: those with a pace or a pause first. Limits are found again within seconds.
const HOSTS_MAX: usize = 100_000;

/// The same for a journal, which is written every few seconds.
const JOURNAL_HOSTS_MAX: usize = 2_000;

/// Age above which limits say nothing any more.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    /// Milliseconds since 1970.
    written_at_ms: u64,
    hosts: Vec<Learned>,
}

/// Returns the text for a journal.
pub(crate) fn for_journal(now: SystemTime, hosts: Vec<Learned>) -> String {
    text(now, hosts, JOURNAL_HOSTS_MAX)
}

/// Returns the text for the state of the service.
pub(crate) fn for_service(now: SystemTime, hosts: Vec<Learned>) -> String {
    text(now, hosts, HOSTS_MAX)
}

fn text(now: SystemTime, mut hosts: Vec<Learned>, most: usize) -> String {
    if hosts.len() > most {
        hosts.sort_by_key(|host| (host.pace_per_s.is_none(), std::cmp::Reverse(host.paused_ms)));
        hosts.truncate(most);
    }
    serde_json::to_string(&Document { written_at_ms: since_1970_ms(now), hosts }).unwrap_or_default()
}

/// Reads such a text `now`. Pauses are shorter by the time since; none is longer, even if the clock was set back.
pub(crate) fn read(now: SystemTime, text: &str) -> Vec<(Host, Learned)> {
    let Ok(Document { written_at_ms, hosts }) = serde_json::from_str(text) else { return Vec::new() };
    let age_ms = since_1970_ms(now).saturating_sub(written_at_ms);
    if Duration::from_millis(age_ms) > AGE_MAX {
        return Vec::new();
    }
    let aged = |learned: Learned| Learned { paused_ms: learned.paused_ms.saturating_sub(age_ms), ..learned };
    hosts.into_iter().filter_map(|learned| Some((Host::named(&learned.host)?, aged(learned)))).collect()
}

fn since_1970_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(host: &str, paused_ms: u64) -> Learned {
        Learned {
            host: host.to_owned(),
            in_flight_max: Some(7),
            pace_per_s: Some(19.5),
            is_search: false,
            paused_ms,
        }
    }

    #[test]
    fn it_ages_between_two_runs() {
        let zero = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let text = for_journal(zero, vec![learned("example.org", 60_000), learned("127.0.0.1:81", 0)]);
        // Seconds since it was written, and what is left of the pause. The clock may have been set back.
        for (age_s, paused_ms) in [(0, 60_000), (10, 50_000), (3600, 0), (-3600, 60_000)] {
            let now = match u64::try_from(age_s) {
                Ok(later_s) => zero + Duration::from_secs(later_s),
                Err(_) => zero - Duration::from_secs(3600),
            };
            let read = read(now, &text);
            let hosts: Vec<_> = read.iter().map(|(host, _)| (&*host.name, host.local)).collect();
            assert_eq!(hosts, [("example.org", false), ("127.0.0.1:81", true)]);
            assert_eq!(read[0].1, learned("example.org", paused_ms), "{age_s} s later");
        }
        assert!(read(zero + AGE_MAX * 2, &text).is_empty(), "too old");
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        for text in
            ["", "{", "[]", r#"{"written_at_ms":-1,"hosts":[]}"#, r#"{"written_at_ms":1,"hosts":[{}]}"#]
        {
            assert!(read(UNIX_EPOCH, text).is_empty(), "{text}");
        }
        let odd = vec![learned("", 0), learned("a b", u64::MAX), learned("[::", 0)];
        assert!(read(UNIX_EPOCH, &for_journal(UNIX_EPOCH, odd)).is_empty());
    }

    #[test]
    fn a_journal_keeps_the_hosts_that_refused_requests() {
        let plain = |n| Learned { pace_per_s: None, ..learned(&format!("h{n}"), 0) };
        let mut hosts: Vec<_> = (0..JOURNAL_HOSTS_MAX).map(plain).collect();
        hosts.push(learned("paced", 0));
        let read = read(UNIX_EPOCH, &for_journal(UNIX_EPOCH, hosts));
        assert_eq!((read.len(), &*read[0].0.name), (JOURNAL_HOSTS_MAX, "paced"));
    }
}
