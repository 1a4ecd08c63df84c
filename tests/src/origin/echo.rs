//! Says what was sent: method, body and headers, of any request. Keeps a log of the bodies, so that a test knows what
//! arrived, and how often.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Origin;

/// The requests to `/sent` so far, in the order of their arrival.
pub(super) type Log = Mutex<Vec<Value>>;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/sent", any(echo)).route("/sent/{*rest}", any(echo)).route("/sent-log", get(log))
}

#[derive(Debug, Deserialize)]
struct EchoQuery {
    /// Seconds before the answer.
    #[serde(default)]
    delay: f64,
}

async fn echo(
    State(origin): State<Arc<Origin>>,
    Query(query): Query<EchoQuery>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut named = Map::new();
    for (name, value) in &headers {
        let value = text(value.as_bytes());
        named
            .entry(name.as_str())
            .and_modify(|known| *known = json!(format!("{known}, {value}")))
            .or_insert(value.into());
    }
    let said =
        json!({"method": method.as_str(), "url": uri.to_string(), "body": text(&body), "headers": named});
    origin.echoed.lock().unwrap_or_else(PoisonError::into_inner).push(said.clone());
    if query.delay > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(query.delay)).await;
    }
    Json(said).into_response()
}

async fn log(State(origin): State<Arc<Origin>>) -> Json<Vec<Value>> {
    Json(origin.echoed.lock().unwrap_or_else(PoisonError::into_inner).clone())
}
