//! When a host is given up: if nothing but failures came back for a long time. A host that has answered within the last
//! [`GIVE_UP_AFTER`] never is.

use std::time::{Duration, Instant};

use wire::record::ErrorKind;

/// A host that has answered before is given up after this time without one answer, and this number of failures in a
/// row. The pauses after refusals grow to a minute, so this is about 14 requests.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(300);
const GIVE_UP_FAILURES: u32 = 5;

/// A host that has never answered is given up after this time and number. Ten refusals in a row take 50 s.
pub const GIVE_UP_UNKNOWN_AFTER: Duration = Duration::from_secs(60);
const GIVE_UP_UNKNOWN_FAILURES: u32 = 10;

/// How long targets of a host that was given up are finished at once. After that, the next ones are tried.
const GIVEN_UP_LASTS: Duration = Duration::from_secs(300);

/// Why a host was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// Kind of the last error.
    pub(crate) kind: ErrorKind,
    /// Whether the last answer was a refusal; otherwise there was none.
    pub(crate) refused: bool,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// How long nothing else came back.
    pub(crate) lasted: Duration,
}

impl GivenUp {
    /// Returns a message that names `host`.
    pub(crate) fn message(&self, host: &str) -> String {
        let did = if self.refused { "refused" } else { "did not answer" };
        let Self { failures, .. } = self;
        let minutes = (self.lasted.as_secs() / 60).max(1);
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        format!("{host} {did} {failures} requests in a row over {minutes} {unit}; giving up on it")
    }
}

/// The failures of a host since its last answer.
#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Instant,
    /// The last failure that counted.
    last_at: Instant,
    /// Failures of requests that were sent after the failure before: what is sent together fails together.
    rounds: u32,
    /// All failures.
    count: u32,
    kind: ErrorKind,
    refused: bool,
    given_up_until: Option<Instant>,
}

/// The failures of a host since its last answer, if there are any. Few hosts fail, so they are kept apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures(Option<Box<Failing>>);

impl Failures {
    /// Records a failure of a request sent then.
    pub(super) fn add(
        &mut self,
        now: Instant,
        sent_at: Instant,
        kind: ErrorKind,
        refused: bool,
        has_answered: bool,
    ) {
        let first = Failing {
            since: now,
            last_at: sent_at,
            rounds: 0,
            count: 0,
            kind,
            refused,
            given_up_until: None,
        };
        let failing = self.0.get_or_insert_with(|| Box::new(first));
        failing.count = failing.count.saturating_add(1);
        (failing.kind, failing.refused) = (kind, refused);
        if sent_at >= failing.last_at {
            failing.rounds = failing.rounds.saturating_add(1);
            failing.last_at = now;
        }
        let (after, failures) = if has_answered {
            (GIVE_UP_AFTER, GIVE_UP_FAILURES)
        } else {
            (GIVE_UP_UNKNOWN_AFTER, GIVE_UP_UNKNOWN_FAILURES)
        };
        if failing.rounds >= failures && now.saturating_duration_since(failing.since) >= after {
            failing.given_up_until = Some(now + GIVEN_UP_LASTS);
        }
    }

    /// Until when the host is given up, if it is.
    pub(super) fn given_up_until(&self) -> Option<Instant> {
        self.0.as_ref()?.given_up_until
    }

    /// Why the host is given up, if it is.
    pub(super) fn given_up(&self, now: Instant) -> Option<GivenUp> {
        let failing = self.0.as_ref().filter(|failing| failing.given_up_until > Some(now))?;
        Some(GivenUp {
            kind: failing.kind,
            refused: failing.refused,
            failures: failing.count,
            lasted: now.saturating_duration_since(failing.since),
        })
    }
}
