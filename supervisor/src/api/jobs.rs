//! Reads and changes of jobs, workers, hosts and the service.

use std::sync::{Arc, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::Api;
use super::auth::Peer;
use super::problem::{Document, Problem};
use super::query::Query;
use super::views::{
    Count, Health, HostList, JobList, Scale, Scaled, WorkerList, acceptable, content_type, json,
};
use crate::nearest::nearest;
use crate::service::{JobAction, Refused};
use crate::view::{JobId, JobState, JobView, ServiceView};

const JSON: &str = "application/json";

/// Default number of jobs in a list.
const LIMIT: usize = 100;

/// Maximum number of jobs in a list.
const LIMIT_MAX: usize = 1_000;

/// Maximum size of a request body that sets the number of workers.
const SCALE_BYTES_MAX: usize = 4_096;

/// Parses a job id in a path. Non-numeric ids return 404.
///
/// # Errors
/// 404.
pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| {
        Problem::new(StatusCode::NOT_FOUND, format_args!("there is no job {text:?}; job ids are numbers"))
    })
}

/// Sends a change to the state loop, on a thread that may block.
///
/// # Errors
/// The refusal of the state loop, or 503 if too many requests wait already.
pub(super) async fn ask<T: Send + 'static>(
    api: &Arc<Api>,
    ask: impl FnOnce(&Api) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Problem> {
    let place = Arc::clone(&api.asks).acquire_owned().await;
    let api = Arc::clone(api);
    let asked = tokio::task::spawn_blocking(move || {
        let answer = ask(&api);
        drop(place);
        answer
    });
    match asked.await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Problem::busy("the service is stopping")),
    }
}

/// Whether the service is running.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = Health)))]
pub(super) async fn healthz() -> Response {
    json(StatusCode::OK, &Health { status: "ok" })
}

/// Whether the service accepts jobs.
#[utoipa::path(get, path = "/readyz", tag = "service", responses(
    (status = 200, body = Health),
    (status = 503, description = "the service is starting or stopping", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let service = shown(&api)?;
    if service.stopping || api.is_stopping() {
        return Err(Problem::busy("the service is stopping"));
    }
    Ok(json(StatusCode::OK, &Health { status: "ok" }))
}

/// Returns the service's entry on the board.
pub(super) fn shown(api: &Api) -> Result<Arc<ServiceView>, Problem> {
    let service = api.service.board().service.read().unwrap_or_else(PoisonError::into_inner).clone();
    service.ok_or_else(|| Problem::busy("the service is starting"))
}

/// The service as a whole.
#[utoipa::path(get, path = "/v1/service", tag = "service", responses(
    (status = 200, body = ServiceView),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn service(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    acceptable(&headers, JSON)?;
    Query::read(&uri, &[])?;
    Ok(json(StatusCode::OK, &shown(&api)?))
}

/// Budgets of hosts, over all jobs.
#[utoipa::path(get, path = "/v1/hosts", tag = "service", responses(
    (status = 200, body = HostList),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn hosts(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    acceptable(&headers, JSON)?;
    Query::read(&uri, &[])?;
    let hosts = api.service.board().hosts.read().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(json(StatusCode::OK, &HostList { hosts }))
}

/// The worker processes, and what each is doing.
#[utoipa::path(get, path = "/v1/workers", tag = "workers", responses(
    (status = 200, body = WorkerList),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn workers(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    acceptable(&headers, JSON)?;
    Query::read(&uri, &[])?;
    let workers = api.service.board().workers.read().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(json(StatusCode::OK, &WorkerList { count: shown(&api)?.workers, workers }))
}

/// Changes the number of workers.
#[utoipa::path(post, path = "/v1/workers", tag = "workers", request_body = Scale, responses(
    (status = 200, body = Scaled),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn scale(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    acceptable(&headers, JSON)?;
    Query::read(&uri, &[])?;
    if content_type(&headers).as_deref() != Some(JSON) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json"));
    }
    let body = super::watched::LimitedBody::new(body, SCALE_BYTES_MAX as u64);
    let failure = body.failure();
    let body = to_bytes(Body::new(body), usize::MAX).await;
    let body = body.map_err(|error| failure.problem(&error))?;
    let scale: Scale = match serde_json::from_slice::<serde_json::Value>(&body) {
        Err(error) => return Err(Problem::bad(format_args!("not JSON: {error}"))),
        Ok(value) => serde_json::from_value(value).map_err(|_| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "the body must be {\"count\": N} or {\"count\": \"auto\"}, and nothing else",
            )
        })?,
    };
    let wanted = match scale.count {
        Count::Number(number) => Some(number),
        Count::Auto(_) => None,
    };
    let count = ask(&api, move |api| api.service.scale(wanted)).await?;
    tracing::info!(sender = %peer, workers = count, "the number of workers was changed");
    Ok(json(StatusCode::OK, &Scaled { count }))
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(
    ("state" = Option<Vec<JobState>>, Query, style = Form, explode = false, description = "only jobs in these states"),
    ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "maximum number of jobs; default 100"),
    ("before" = Option<u64>, Query, description = "only jobs with a lower id; use the last id of the previous list"),
), responses(
    (status = 200, body = JobList),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    acceptable(&headers, JSON)?;
    let query = Query::read(&uri, &["state", "limit", "before"])?;
    let states = query.text("state").map(states).transpose()?;
    let limit = query.number("limit")?.map_or(LIMIT, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::bad(format_args!("limit must be a number from 1 to {LIMIT_MAX}")));
    }
    let before = JobId(query.number("before")?.unwrap_or(u64::MAX));
    let jobs = api.service.board().jobs.read().unwrap_or_else(PoisonError::into_inner);
    let jobs = jobs.range(..before).rev().map(|(_, (job, _))| job);
    let jobs = jobs.filter(|job| states.as_ref().is_none_or(|states| states.contains(&job.state)));
    let list = JobList { jobs: jobs.take(limit).cloned().collect() };
    Ok(json(StatusCode::OK, &list))
}

/// Parses the names of states, separated by commas.
fn states(text: &str) -> Result<Vec<JobState>, Problem> {
    const NAMES: [(&str, JobState); 7] = [
        ("queued", JobState::Queued),
        ("running", JobState::Running),
        ("paused", JobState::Paused),
        ("draining", JobState::Draining),
        ("done", JobState::Done),
        ("failed", JobState::Failed),
        ("cancelled", JobState::Cancelled),
    ];
    let state = |name: &str| {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, state)| *state).ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name);
            Problem::bad(match nearest(name, names) {
                Some(near) => format!("unknown state {name:?}; did you mean {near:?}?"),
                None => format!("unknown state {name:?}; states are: {}", names.join(", ")),
            })
        })
    };
    text.split(',').map(str::trim).map(state).collect()
}

/// One job.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = u64, Path, minimum = 1)), responses(
    (status = 200, body = JobView),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    acceptable(&headers, JSON)?;
    Query::read(&uri, &[])?;
    let (job, _) = api.service.job(job_id(&id)?)?;
    Ok(json(StatusCode::OK, &job))
}

/// Cancels a job that has not ended; removes one that has.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", params(
    ("id" = u64, Path, minimum = 1),
    ("only" = Option<super::schema::OnlyDelete>, Query, description = "do only this; if the job's state does not allow it, return 409"),
), responses(
    (status = 202, description = "the job is cancelled; its records are kept", body = JobView),
    (status = 204, description = "the job had ended; it and its records are removed"),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["only"])?;
    let id = job_id(&id)?;
    let (job, _) = api.service.job(id)?;
    // A client that wants one of the two must never get the other: the job may end while the
    // request is under way.
    let action = match query.text("only") {
        Some("cancel") => JobAction::Cancel,
        Some("remove") => JobAction::Remove,
        Some(other) => {
            return Err(Problem::bad(format_args!("only must be \"cancel\" or \"remove\", not {other:?}")));
        }
        None if job.state.has_ended() => JobAction::Remove,
        None => JobAction::Cancel,
    };
    let acted = act(&api, &peer, id, action).await?;
    if action == JobAction::Remove {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(json(StatusCode::ACCEPTED, &acted))
}

/// Pauses a job after it has finished what is in flight.
#[utoipa::path(post, path = "/v1/jobs/{id}/pause", tag = "jobs", params(("id" = u64, Path, minimum = 1)), responses(
    (status = 200, body = JobView),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &act(&api, &peer, job_id(&id)?, JobAction::Pause).await?))
}

/// Resumes a paused job.
#[utoipa::path(post, path = "/v1/jobs/{id}/resume", tag = "jobs", params(("id" = u64, Path, minimum = 1)), responses(
    (status = 200, body = JobView),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &act(&api, &peer, job_id(&id)?, JobAction::Resume).await?))
}

/// Creates a new job from the failed inputs of a job that has ended.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry-failed", tag = "jobs", params(("id" = u64, Path, minimum = 1)), responses(
    (status = 201, body = JobView, headers(("Location" = String, description = "the new job"))),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn retry_failed(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(created(StatusCode::CREATED, &act(&api, &peer, job_id(&id)?, JobAction::RetryFailed).await?))
}

/// A response with a job, and its location.
pub(super) fn created(status: StatusCode, job: &JobView) -> Response {
    let mut response = json(status, job);
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

async fn act(api: &Arc<Api>, peer: &Peer, id: JobId, action: JobAction) -> Result<JobView, Problem> {
    let acted = ask(api, move |api| api.service.act(id, action)).await;
    match &acted {
        Ok(_) => tracing::info!(sender = %peer, job = %id, ?action, "a job was acted on"),
        Err(problem) => tracing::info!(sender = %peer, job = %id, ?action, why = problem.detail, "refused"),
    }
    acted
}
