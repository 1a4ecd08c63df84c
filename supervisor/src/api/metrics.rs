//! `GET /metrics`: the board and the counters, for Prometheus.
//!
//! Labels are states, kinds, modes and routes, never jobs or hosts. So the number of series does
//! not grow with time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use shared::job::Mode;
use supervisor_core::gather::LATENCY_BOUNDS_US;

use super::Api;
use super::problem::{Document, Problem};
use super::query::Query;
use super::views::acceptable;
use crate::service::{Board, Totals};
use crate::view::{JobState, WorkerState};

/// Bucket bounds for request durations, in seconds.
const REQUEST_BOUNDS_S: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.25, 1.0];

/// Content type of a scrape.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters of the API itself.
#[derive(Debug, Default)]
pub(super) struct HttpMetrics(Mutex<Requests>);

#[derive(Debug, Default, Clone)]
struct Requests {
    /// Requests by method, route and status.
    answered: BTreeMap<(&'static str, &'static str, u16), u64>,
    /// Requests in each bucket; the last bucket has no bound.
    seconds: [u64; REQUEST_BOUNDS_S.len() + 1],
    seconds_sum: f64,
    connections_refused: u64,
}

impl HttpMetrics {
    /// Records a request that was answered. Its body may still be in transit.
    pub(super) fn answered(&self, method: &Method, route: &'static str, status: StatusCode, took: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        let seconds = took.as_secs_f64();
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.answered.entry((method, route, status.as_u16())).or_default() += 1;
        let bucket = REQUEST_BOUNDS_S.partition_point(|bound| *bound < seconds);
        if let Some(count) = requests.seconds.get_mut(bucket) {
            *count += 1;
        }
        requests.seconds_sum += seconds;
    }

    /// Records a connection that was refused because there were too many.
    pub(super) fn refused(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).connections_refused += 1;
    }
}

/// All metrics.
#[utoipa::path(get, path = "/metrics", tag = "service", responses(
    (status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain"),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    acceptable(&headers, "text/plain")?;
    Query::read(&uri, &[])?;
    let board = api.service.board();
    let requests = api.http.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut families = jobs(board);
    families.extend(records(&board.metrics.totals()));
    families.extend(processes(board));
    families.extend(http(&requests));
    // The encoder treats a family without samples as an error.
    families.retain(|family| !family.get_metric().is_empty());
    let text = TextEncoder::new().encode_to_string(&families);
    let text = text.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let mut response = (StatusCode::OK, text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
}

/// Label names and values, with a number.
type Sample = (Vec<(&'static str, String)>, f64);

fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl IntoIterator<Item = Sample>,
) -> MetricFamily {
    let metric = |(labels, value): Sample| {
        let mut metric = Metric::from_label(labels.into_iter().map(label).collect());
        // The encoder reads the one that matches the family's type.
        let (mut counter, mut gauge) = (Counter::default(), Gauge::default());
        counter.set_value(value);
        gauge.set_value(value);
        metric.set_counter(counter);
        metric.set_gauge(gauge);
        metric
    };
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples.into_iter().map(metric).collect());
    family
}

fn label((name, value): (&str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, [(Vec::new(), value)])
}

fn counter(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::COUNTER, [(Vec::new(), value)])
}

/// Builds a histogram. `counts` are not cumulative; the last bucket has no bound.
fn histogram(name: &str, help: &str, bounds: &[f64], counts: &[u64], sum: f64) -> MetricFamily {
    let mut cumulative = 0;
    let bucket = |(bound, count): (&f64, &u64)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(cumulative);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(bounds.iter().zip(counts).map(bucket).collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(vec![metric]);
    family
}

/// Returns the name of a state, as in JSON.
fn name(state: impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => String::new(),
    }
}

/// The jobs on the board.
fn jobs(board: &Board) -> Vec<MetricFamily> {
    const STATES: [JobState; 7] = [
        JobState::Queued,
        JobState::Running,
        JobState::Paused,
        JobState::Draining,
        JobState::Done,
        JobState::Failed,
        JobState::Cancelled,
    ];
    let jobs = board.jobs.read().unwrap_or_else(PoisonError::into_inner);
    let views = || jobs.values().map(|(job, _)| job);
    let count =
        |matches: &dyn Fn(&crate::view::JobView) -> bool| views().filter(|job| matches(job)).count() as f64;
    let states = STATES.map(|state| (vec![("state", name(state))], count(&|job| job.state == state)));
    let modes = Mode::ALL.map(|mode| {
        let running = count(&|job| job.state == JobState::Running && job.mode == Some(mode));
        (vec![("mode", mode.name().to_owned())], running)
    });
    let open = || views().filter(|job| !job.state.has_ended());
    let in_flight: u64 = open().map(|job| job.counts.in_flight).sum();
    let items_per_s: f64 = open().map(|job| job.items_per_s).sum();
    vec![
        family("muster_jobs", "Stored jobs, by state.", MetricType::GAUGE, states),
        family("muster_jobs_running", "Running jobs, by execution mode.", MetricType::GAUGE, modes),
        gauge("muster_inputs_in_flight", "Inputs in flight, over all jobs.", in_flight as f64),
        gauge(
            "muster_inputs_per_second",
            "Inputs done per second over the last few seconds, over all jobs.",
            items_per_s,
        ),
    ]
}

/// Counters since the start.
fn records(totals: &Totals) -> Vec<MetricFamily> {
    let Totals { submitted, ended, ok, failed, quarantined, retries, refused, bytes, errors, latencies } =
        totals;
    let one = |name: &'static str, value: &str, count: u64| (vec![(name, value.to_owned())], count as f64);
    let states = ["done", "failed", "cancelled"].iter().zip(ended);
    let states: Vec<_> = states.map(|(state, count)| one("state", state, *count)).collect();
    let results = [one("result", "ok", *ok), one("result", "error", *failed)];
    let kinds = errors.iter().map(|(kind, count)| one("kind", kind.name(), *count));
    let bounds = LATENCY_BOUNDS_US.map(|bound| bound as f64 / 1e6);
    vec![
        counter("muster_jobs_submitted_total", "Jobs accepted.", *submitted as f64),
        family("muster_jobs_ended_total", "Jobs that ended, by final state.", MetricType::COUNTER, states),
        family("muster_records_total", "Inputs done, by result.", MetricType::COUNTER, results),
        family(
            "muster_record_errors_total",
            "Inputs done with an error, by kind.",
            MetricType::COUNTER,
            kinds,
        ),
        counter(
            "muster_quarantined_total",
            "Inputs quarantined because their worker died on every attempt.",
            *quarantined as f64,
        ),
        counter("muster_retries_total", "Attempts that were followed by another one.", *retries as f64),
        counter(
            "muster_requests_refused_total",
            "Requests that servers refused (429, 503).",
            *refused as f64,
        ),
        counter("muster_body_bytes_total", "Body bytes read.", *bytes as f64),
        histogram(
            "muster_record_duration_seconds",
            "Duration of the last attempt at each input.",
            &bounds,
            &latencies.counts,
            latencies.sum_us as f64 / 1e6,
        ),
    ]
}

/// The supervisor and its workers.
fn processes(board: &Board) -> Vec<MetricFamily> {
    const STATES: [WorkerState; 4] =
        [WorkerState::Starting, WorkerState::Idle, WorkerState::Busy, WorkerState::Leaving];
    let workers = board.workers.read().unwrap_or_else(PoisonError::into_inner).clone();
    let states = STATES.map(|state| {
        let count = workers.iter().filter(|worker| worker.state == state).count();
        (vec![("state", name(state))], count as f64)
    });
    let rss: u64 = workers.iter().map(|worker| worker.rss_bytes).sum();
    let mut families = vec![
        family("muster_workers", "Worker processes, by what they are doing.", MetricType::GAUGE, states),
        gauge("muster_workers_resident_memory_bytes", "Resident memory of all workers.", rss as f64),
    ];
    let Some(service) = board.service.read().unwrap_or_else(PoisonError::into_inner).clone() else {
        return families;
    };
    let built = [(vec![("version", service.version.clone())], 1.0)];
    families.extend([
        family("muster_build_info", "The version of the service.", MetricType::GAUGE, built),
        gauge("muster_workers_wanted", "Configured number of worker processes.", f64::from(service.workers)),
        counter(
            "muster_worker_restarts_total",
            "Workers started to replace one that died.",
            service.restarts as f64,
        ),
        gauge("muster_uptime_seconds", "Time since the service was started.", service.uptime_s),
        gauge("muster_resident_memory_bytes", "Resident memory of the supervisor.", service.rss_bytes as f64),
        counter("muster_cpu_seconds_total", "CPU time of the supervisor.", service.cpu_s),
        gauge("muster_stopping", "Whether the service is stopping.", f64::from(u8::from(service.stopping))),
    ]);
    families
}

/// The API itself.
fn http(requests: &Requests) -> Vec<MetricFamily> {
    let answered = requests.answered.iter().map(|((method, route, status), count)| {
        let labels = [("method", *method), ("route", *route)].map(|(name, value)| (name, value.to_owned()));
        let labels = labels.into_iter().chain([("code", status.to_string())]).collect();
        (labels, *count as f64)
    });
    vec![
        family(
            "muster_http_requests_total",
            "Requests answered, by method, route and status.",
            MetricType::COUNTER,
            answered,
        ),
        histogram(
            "muster_http_request_duration_seconds",
            "Time until the response began, including the wait for the request's turn.",
            &REQUEST_BOUNDS_S,
            &requests.seconds,
            requests.seconds_sum,
        ),
        counter(
            "muster_http_connections_refused_total",
            "Connections refused because there were too many.",
            requests.connections_refused as f64,
        ),
    ]
}
