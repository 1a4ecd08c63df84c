//! Bodies that only the API has: lists, and requests to change the workers.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::view::{HostView, JobView, ServiceView, WorkerView};

/// `GET /v1/jobs`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobList {
    /// Newest first.
    #[schema(value_type = Vec<JobView>)]
    pub(super) jobs: Vec<Arc<JobView>>,
}

/// `GET /v1/workers`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerList {
    /// Configured number of workers.
    pub(super) count: u32,
    /// The worker processes.
    #[schema(value_type = Vec<WorkerView>)]
    pub(super) workers: Arc<Vec<WorkerView>>,
}

/// `GET /v1/hosts`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HostList {
    /// The busiest first; at most 200.
    #[schema(value_type = Vec<HostView>)]
    pub(super) hosts: Arc<Vec<HostView>>,
}

/// Data of the event `pulse`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pulse {
    #[schema(value_type = ServiceView)]
    pub(super) service: Arc<ServiceView>,
    #[schema(value_type = Vec<WorkerView>)]
    pub(super) workers: Arc<Vec<WorkerView>>,
    #[schema(value_type = Vec<HostView>)]
    pub(super) hosts: Arc<Vec<HostView>>,
}

/// `POST /v1/workers`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Scale {
    /// Wanted number of workers.
    pub(super) count: Count,
}

/// A number of workers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Count {
    /// A fixed number.
    Number(u32),
    /// One per CPU.
    Auto(Auto),
}

/// The word `auto`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auto {
    /// One per CPU.
    Auto,
}

/// The response to `POST /v1/workers`: the number now in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Scaled {
    /// Configured number of workers.
    pub(super) count: u32,
}

/// `/healthz` and `/readyz`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    pub(super) status: &'static str,
}

/// Builds a JSON response.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let mut response = (status, body).into_response();
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

/// Returns the media type of the body, without parameters.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Checks that the client accepts a response of this type.
///
/// # Errors
/// 406 if its `Accept` header excludes it.
pub(super) fn acceptable(headers: &HeaderMap, offered: &str) -> Result<(), Problem> {
    let mut any = false;
    let (kind, _) = offered.split_once('/').unwrap_or((offered, ""));
    // The most specific range decides: `*/*;q=0.1, application/json;q=0` accepts anything but JSON.
    let mut decided: Option<(u8, bool)> = None;
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or("*/*").split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            if name.is_empty() {
                continue;
            }
            any = true;
            let exactness = match name.split_once('/') {
                Some(("*", "*")) => 1,
                Some((wanted, "*")) if wanted.eq_ignore_ascii_case(kind) => 2,
                _ if name.eq_ignore_ascii_case(offered) => 3,
                _ => continue,
            };
            let refused = parts
                .filter_map(|parameter| parameter.strip_prefix("q="))
                .any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
            if decided.is_none_or(|(before, _)| before < exactness) {
                decided = Some((exactness, !refused));
            }
        }
    }
    if !any || decided.is_some_and(|(_, taken)| taken) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        format_args!("the response is {offered}, which the Accept header excludes"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_understood() {
        let check = |accept: &str, offered: &str, want: bool| {
            let headers: HeaderMap =
                [(header::ACCEPT, HeaderValue::from_str(accept).unwrap())].into_iter().collect();
            assert_eq!(acceptable(&headers, offered).is_ok(), want, "{accept} {offered}");
        };
        check("*/*", "application/json", true);
        check("text/html, */*;q=0.8", "application/json", true);
        check("application/*", "application/json", true);
        check("Application/JSON; charset=utf-8", "application/json", true);
        check("text/html", "application/json", false);
        check("application/json;q=0, */*", "application/json", false);
        check("*/*;q=0", "application/json", false);
        check("text/event-stream", "text/event-stream", true);
        check("", "application/json", true);
        assert!(acceptable(&HeaderMap::new(), "application/json").is_ok());
    }
}
