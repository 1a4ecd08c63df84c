//! Counts the requests for each path: how many, when, and how many at once.
//!
//! Politeness is measured here because the server is what it protects. A request is in flight from the arrival of
//! its head until the head of its response is ready. That is never longer than the client sees it, so a limit that
//! holds at the client holds here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Origin;

/// Maximum arrival times kept for one path.
const TIMES_MAX: usize = 10_000;

/// The counters of one server.
#[derive(Debug)]
pub(super) struct Stats {
    started: Instant,
    report: Mutex<Report>,
}

/// The response to `/stats`.
#[derive(Debug, Default, Serialize)]
struct Report {
    requests: u64,
    http2_requests: u64,
    paths: BTreeMap<String, PathReport>,
    hosts: BTreeMap<String, InFlight>,
}

#[derive(Debug, Default, Serialize)]
struct PathReport {
    #[serde(flatten)]
    in_flight: InFlight,
    /// Arrivals, in milliseconds since the server started.
    times_ms: Vec<f64>,
}

#[derive(Debug, Default, Serialize)]
struct InFlight {
    requests: u64,
    in_flight: u64,
    in_flight_max: u64,
}

impl InFlight {
    fn begin(&mut self) {
        self.requests += 1;
        self.in_flight += 1;
        self.in_flight_max = self.in_flight_max.max(self.in_flight);
    }

    fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self { started: shared::clock::now(), report: Mutex::default() }
    }
}

impl Stats {
    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the server has run.
    pub(super) fn age(&self) -> std::time::Duration {
        shared::clock::now().duration_since(self.started)
    }

    fn begin(&self, path: &str, host: &str, version: Version) {
        let since_ms = shared::clock::now().duration_since(self.started).as_secs_f64() * 1e3;
        let mut report = self.lock();
        report.requests += 1;
        report.http2_requests += u64::from(version == Version::HTTP_2);
        let of_path = report.paths.entry(path.to_owned()).or_default();
        of_path.in_flight.begin();
        if of_path.times_ms.len() < TIMES_MAX {
            of_path.times_ms.push(since_ms);
        }
        report.hosts.entry(host.to_owned()).or_default().begin();
    }

    fn end(&self, path: &str, host: &str) {
        let mut report = self.lock();
        report.paths.entry(path.to_owned()).or_default().in_flight.end();
        report.hosts.entry(host.to_owned()).or_default().end();
    }
}

/// Ends its request when dropped, also if the client goes away and the handler is dropped.
struct Flight {
    origin: Arc<Origin>,
    path: String,
    host: String,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.origin.stats.end(&self.path, &self.host);
    }
}

/// Middleware around every endpoint but `/stats` itself.
pub(super) async fn track(State(origin): State<Arc<Origin>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if path == "/stats" {
        return next.run(request).await;
    }
    let host = host_of(request.headers(), request.uri());
    origin.stats.begin(&path, &host, request.version());
    let _flight = Flight { origin, path, host };
    next.run(request).await
}

/// The host a request was sent to: a header in HTTP/1, part of the target in HTTP/2.
pub(super) fn host_of(headers: &HeaderMap, uri: &Uri) -> String {
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or(uri.authority().map(|authority| authority.as_str()))
        .unwrap_or_default()
        .to_owned()
}

/// `/stats`: the counters so far.
pub(super) async fn report(State(origin): State<Arc<Origin>>) -> Response {
    Json(&*origin.stats.lock()).into_response()
}
