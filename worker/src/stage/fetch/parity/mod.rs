//! Runs both clients against the same small servers. Their outcomes must be equal and correct.

mod addresses;
mod blocked;
mod connections;
mod cookies;
mod endless;
mod heads;
mod proxies;
mod race;
mod recordings;
mod requests;
mod responses;
mod scope;
mod server;
mod since;
mod timing;
mod tls;
mod transport;

use std::net::IpAddr;

use shared::job::FetchSpec;
use shared::kept::Kept;
use shared::protocol::Exit;
use shared::record::ErrorKind;

use super::connect::Gate;
use super::recording::Recording;
use super::rules::Rules;
use super::rules::tests::spec;
use super::tls::Tls;
use super::{Failure, Fetched, Outcome, blocking, event_loop};
use crate::stage::fetch::Wanted;

/// Both clients for one job.
struct Pair {
    blocking: blocking::Client,
    event_loop: event_loop::Client,
    runtime: tokio::runtime::Runtime,
    /// What the last fetch recorded.
    recordings: [Recording; 2],
    /// The proxy that fetches go through.
    exit: Option<Exit>,
}

impl Pair {
    fn new(spec: &FetchSpec) -> Self {
        let tls = |alpn| Tls::of(&spec.transport, alpn);
        Self::with(spec, tls(&["http/1.1"]), tls(&["h2", "http/1.1"]))
    }

    fn with(spec: &FetchSpec, blocking: Tls, event_loop: Tls) -> Self {
        Self {
            blocking: blocking::Client::with_tls(spec, blocking).unwrap(),
            event_loop: event_loop::Client::with_tls(spec, event_loop).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            recordings: <[Recording; 2]>::default(),
            exit: None,
        }
    }

    /// Clients that must not connect to addresses that `denial` names.
    fn gated(denial: fn(IpAddr) -> Option<&'static str>) -> Self {
        let rules = || Rules { gate: Gate::with(denial), ..Rules::new(&spec()).unwrap() };
        Self {
            blocking: blocking::Client::with_rules(rules(), &spec(), Tls::system(&["http/1.1"])),
            event_loop: event_loop::Client::with_rules(rules(), &spec(), Tls::system(&["h2", "http/1.1"])),
            ..Self::new(&spec())
        }
    }

    fn each(&mut self, url: &str) -> [Outcome; 2] {
        self.each_wanted(url, Wanted::Page)
    }

    fn each_wanted(&mut self, url: &str, wanted: Wanted) -> [Outcome; 2] {
        self.each_kept(url, wanted, Kept(&[]))
    }

    fn each_kept(&mut self, url: &str, wanted: Wanted, kept: Kept<'_>) -> [Outcome; 2] {
        let mut recordings = [Recording::new(true), Recording::new(true)];
        let [one, other] = &mut recordings;
        let outcomes = [
            self.blocking.fetch(url, wanted, self.exit, kept, one),
            self.runtime.block_on(self.event_loop.fetch(url, wanted, self.exit, kept, other)),
        ];
        self.recordings = recordings;
        outcomes
    }

    /// Checks that the outcomes of both clients are equal, and returns it.
    #[track_caller]
    fn agreed(&mut self, url: &str) -> Outcome {
        let [blocking, event_loop] = self.each(url).map(|mut outcome| {
            if let Err(failure) = &mut outcome {
                // Where a limit interrupts a body depends on how the network splits it.
                failure.bytes = 0;
            }
            outcome
        });
        assert_eq!(blocking, event_loop, "the clients disagree on {url}");
        event_loop
    }

    #[track_caller]
    fn page(&mut self, url: &str) -> Fetched {
        self.agreed(url).unwrap_or_else(|failure| panic!("{url}: {failure:?}"))
    }

    #[track_caller]
    fn failure(&mut self, url: &str) -> Failure {
        *self.agreed(url).expect_err(url)
    }
}

#[track_caller]
fn assert_failure(failure: &Failure, kind: ErrorKind, message: &str, may_pass: bool) {
    assert_eq!(
        (failure.kind, failure.message.as_str(), failure.may_pass),
        (kind, message, may_pass),
        "{failure:?}"
    );
}
