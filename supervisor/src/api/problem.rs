//! Error responses: problem documents (RFC 9457).

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use shared::redact;
use utoipa::ToSchema;

use crate::service::Refused;

/// Seconds after which a client should try again when the service is busy.
const RETRY_AFTER_S: u32 = 2;

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document<'a> {
    /// Always `about:blank`: the status identifies the kind of problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Name of the status.
    title: &'a str,
    /// HTTP status.
    status: u16,
    /// What is wrong, and what to do about it.
    detail: &'a str,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    /// An additional header for the client.
    header: Option<(header::HeaderName, &'static str)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl fmt::Display) -> Self {
        // Details quote what the client has sent, and are logged.
        Self { status, detail: redact::text(&detail.to_string()).into_owned(), header: None }
    }

    /// A malformed request.
    pub(super) fn bad(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The service is busy; the client may try again.
    pub(super) fn busy(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The token is missing or wrong.
    pub(super) fn unauthorized(detail: &str) -> Self {
        // It quotes nothing, and says what to send.
        Self {
            status: StatusCode::UNAUTHORIZED,
            detail: detail.to_owned(),
            header: Some((header::WWW_AUTHENTICATE, "Bearer realm=\"muster\"")),
        }
    }
}

/// Name of the status. The `http` crate still uses an old name for 422.
pub(super) fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        other => other.canonical_reason().unwrap_or("Error"),
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::NoJob(_) => StatusCode::NOT_FOUND,
            Refused::Conflict(_) => StatusCode::CONFLICT,
            Refused::Invalid(_) | Refused::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            Refused::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Storage(_) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self::new(status, refused)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            kind: "about:blank",
            title: title(self.status),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
