//! `GET /v1/events`: sends what happens, as server-sent events.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::channel::{Channel, Sender};
use serde::Serialize;
use shared::clock;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;

use super::Api;
use super::auth::Peer;
use super::pools::Place;
use super::problem::{Document, Problem};
use super::query::Query;
use super::views::{Pulse, acceptable};
use crate::service::{Service, Update};

/// Silence after which a comment shows proxies and clients that the connection is alive.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Interval of the check whether the listener is still there, while nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pieces queued for a listener. Beyond that, events stay in the channel they come from, which
/// drops the oldest.
const PIECES: usize = 4;

/// Maximum bytes of events sent as one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Streams what happens, from now on.
#[utoipa::path(get, path = "/v1/events", tag = "service", responses(
    (status = 200, description = "events `job`, `removed`, `pulse`, `said` and `lost`; see docs/API.md", body = String,
        content_type = "text/event-stream"),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn listen(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    acceptable(&headers, "text/event-stream")?;
    Query::read(&uri, &[])?;
    let place = api.streams.try_take(&peer).ok_or_else(|| Problem::busy("too many listeners"))?;
    let (sender, body) = Channel::<Bytes, io::Error>::new(PIECES);
    tokio::spawn(send(api, sender, place));
    let mut response = (StatusCode::OK, Body::new(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // No proxy between the service and the browser should buffer events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

async fn send(api: Arc<Api>, mut sender: Sender<Bytes, io::Error>, _place: Place) {
    // Subscribe before the jobs are read, so that no change is missed in between.
    let mut events = api.service.listen();
    let mut piece = jobs(&api.service);
    let mut sent = clock::now();
    loop {
        if !piece.is_empty() {
            sent = clock::now();
        }
        // Sending an empty piece has no effect except that it notices a listener that is gone.
        if sender.send_data(Bytes::from(std::mem::take(&mut piece))).await.is_err() {
            return;
        }
        let event = tokio::select! {
            event = timeout(LOOK_EVERY, events.recv()) => event,
            () = api.stopped() => return,
        };
        let mut next = match event {
            Err(_) => {
                if clock::now() >= sent + COMMENT_EVERY {
                    piece.extend_from_slice(b": still here\n\n");
                }
                continue;
            }
            Ok(Ok(event)) => Ok(event),
            Ok(Err(RecvError::Lagged(_))) => Err(TryRecvError::Lagged(0)),
            Ok(Err(RecvError::Closed)) => return,
        };
        // Everything that has arrived meanwhile goes along, because a piece costs more than an
        // event.
        loop {
            match next {
                Ok(event) => write_event(&api.service, &event, &mut piece),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                Err(TryRecvError::Lagged(_)) => {
                    events = api.service.listen();
                    write(&mut piece, "lost", &serde_json::json!({}));
                    piece.append(&mut jobs(&api.service));
                }
            }
            if piece.len() >= PIECE_BYTES {
                break;
            }
            next = events.try_recv();
        }
    }
}

/// Returns the jobs that have not ended, as events. Holds at least a comment, so that a listener
/// knows that it is connected.
fn jobs(service: &Service) -> Vec<u8> {
    let mut piece = b": muster\n\n".to_vec();
    let jobs = service.board().jobs.read().unwrap_or_else(PoisonError::into_inner);
    let open: Vec<_> =
        jobs.values().map(|(job, _)| job).filter(|job| !job.state.has_ended()).cloned().collect();
    drop(jobs);
    open.iter().for_each(|job| write(&mut piece, "job", job));
    piece
}

fn write_event(service: &Service, event: &Update, piece: &mut Vec<u8>) {
    match event {
        Update::Job(job) => write(piece, "job", job),
        Update::Removed(id) => write(piece, "removed", &serde_json::json!({ "id": id })),
        Update::Said(job, message) => {
            write(piece, "said", &serde_json::json!({ "job": job, "message": &**message }));
        }
        Update::Pulse => {
            let board = service.board();
            let shown = board.service.read().unwrap_or_else(PoisonError::into_inner).clone();
            let workers = board.workers.read().unwrap_or_else(PoisonError::into_inner).clone();
            let hosts = board.hosts.read().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(service) = shown {
                write(piece, "pulse", &Pulse { service, workers, hosts });
            }
        }
    }
}

fn write(piece: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    piece.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    // The JSON is on one line, so text inside it cannot end the event.
    if serde_json::to_writer(&mut *piece, data).is_err() {
        piece.extend_from_slice(b"null");
    }
    piece.extend_from_slice(b"\n\n");
}
