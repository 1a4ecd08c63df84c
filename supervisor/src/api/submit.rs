//! `POST /v1/jobs`: a document, alone, with files, or with inputs that stream in.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, FromRequest as _, Multipart, Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::Api;
use super::auth::Peer;
use super::incoming::{Batch, Writing};
use super::jobs::{ask, created};
use super::problem::{Document, Problem};
use super::query::Query;
use super::views::{acceptable, content_type};
use super::watched::{Trouble, Watched, too_large};
use crate::service::{Idempotency, Submission};
use crate::view::JobView;

/// Largest document. It is kept in memory, where it takes several times as much; long lists of inputs are no part of it.
const DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Longest line with a URL.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// Longest time to wait while others upload.
const TURN: std::time::Duration = std::time::Duration::from_secs(10);

/// The header that makes a submission sent twice one job.
const KEY: &str = "idempotency-key";

/// What a body turns out to be.
struct Received {
    document: Map<String, Value>,
    batch: Batch,
}

/// Takes in a job.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "the same key with the same content is the same job")),
    request_body(description = "the document of a job file; see docs/API.md", content(
        (super::schema::JobDocument = "application/json"),
        (super::schema::JobForm = "multipart/form-data"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 201, body = JobView, headers(("Location" = String, description = "the job"))),
        (status = 200, description = "it was there already, by its key", body = JobView),
        (status = "default", body = Document<'static>, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    acceptable(headers, "application/json")?;
    Query::read(request.uri(), &[])?;
    let key = idempotency_key(headers)?;
    let bytes_max = api.config.body_bytes_max;
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let place = timeout(TURN, Arc::clone(&api.uploads).acquire_owned()).await;
    let Ok(Ok(_place)) = place else {
        return Err(Problem::busy("too many uploads at once; try again"));
    };
    let kind = content_type(headers);
    let batch = Batch::new(&api.incoming, key.is_some());
    let (parts, body) = request.into_parts();
    let body = Watched::new(body, bytes_max);
    let trouble = body.trouble();
    let received = match kind.as_deref() {
        Some("application/json") => plain(body, batch, &trouble).await?,
        Some("application/x-ndjson") => streamed(body, batch, &trouble).await?,
        Some("multipart/form-data") => {
            let request = Request::from_parts(parts, Body::new(body));
            let form = Multipart::from_request(request, &()).await;
            let form = form.map_err(|error| Problem::bad(error.body_text()))?;
            with_files(form, batch, &trouble).await?
        }
        Some(_) | None => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a job is application/json, multipart/form-data or application/x-ndjson",
            ));
        }
    };
    hand_in(&api, &peer, received, key).await
}

async fn hand_in(
    api: &Arc<Api>,
    peer: &Peer,
    received: Received,
    key: Option<String>,
) -> Result<Response, Problem> {
    let Received { document, batch } = received;
    let uploads = batch.sync().await?;
    let idempotency = key.map(|key| {
        let document = serde_json::to_vec(&document).unwrap_or_default();
        Idempotency { key, digest: batch.digest(&document) }
    });
    let submission = Submission { document, uploads, idempotency, sender: peer.to_string() };
    // The batch goes along: whether its files are to stay is known only there, even if the client has gone by then.
    let submitted = ask(api, move |api| {
        let submitted = api.service.submit(submission)?;
        if !submitted.known {
            batch.keep();
        }
        Ok(submitted)
    })
    .await;
    match submitted {
        Ok(submitted) => {
            let (job, known) = (submitted.job, submitted.known);
            tracing::info!(sender = %peer, job = %job.id, command = job.command, known, "a job was submitted");
            Ok(created(if known { StatusCode::OK } else { StatusCode::CREATED }, &job))
        }
        Err(problem) => {
            tracing::info!(sender = %peer, why = problem.detail, "a job was refused");
            Err(problem)
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let is_visible = |byte: &u8| byte.is_ascii_graphic();
    match key.as_bytes() {
        bytes @ [_, ..] if bytes.len() <= 255 && bytes.iter().all(is_visible) => {
            Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
        }
        _ => Err(Problem::bad("Idempotency-Key takes 1 to 255 visible ASCII characters")),
    }
}

/// Reads a document.
fn document(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(_) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "a job is a JSON object")),
        Err(error) => Err(Problem::bad(format_args!("the job is not JSON: {error}"))),
    }
}

fn document_too_large() -> Problem {
    let detail = format_args!(
        "the document is larger than {DOCUMENT_BYTES_MAX} bytes; send long lists as a file, or a line each"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// `application/json`: the document and nothing else.
async fn plain(body: Watched, batch: Batch, trouble: &Trouble) -> Result<Received, Problem> {
    let limited = http_body_util::Limited::new(body, DOCUMENT_BYTES_MAX);
    let bytes = to_bytes(Body::new(limited), usize::MAX).await;
    let bytes = bytes.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.is::<http_body_util::LengthLimitError>() {
                return document_too_large();
            }
            cause = error.source();
        }
        trouble.problem(&error)
    })?;
    Ok(Received { document: document(&bytes)?, batch })
}

/// `multipart/form-data`: the document in `job`, files in `input`.
async fn with_files(mut form: Multipart, mut batch: Batch, trouble: &Trouble) -> Result<Received, Problem> {
    let mut job: Option<Map<String, Value>> = None;
    while let Some(mut field) =
        form.next_field().await.map_err(|error| trouble.problem(&error.body_text()))?
    {
        match field.name() {
            Some("job") if job.is_some() => return Err(Problem::bad("there are two parts \"job\"")),
            Some("job") => {
                let mut bytes = Vec::new();
                while let Some(chunk) =
                    field.chunk().await.map_err(|error| trouble.problem(&error.body_text()))?
                {
                    bytes.extend_from_slice(&chunk);
                    if bytes.len() > DOCUMENT_BYTES_MAX {
                        return Err(document_too_large());
                    }
                }
                job = Some(document(&bytes)?);
            }
            Some("input") => {
                let name = field.file_name().unwrap_or_default().to_owned();
                let mut file = batch.file(&name).await?;
                while let Some(chunk) =
                    field.chunk().await.map_err(|error| trouble.problem(&error.body_text()))?
                {
                    file.write(&chunk).await?;
                }
                file.end().await?;
            }
            other => {
                let name = other.unwrap_or_default();
                return Err(Problem::bad(format_args!(
                    "there is a part {name:?}; they are \"job\" and \"input\""
                )));
            }
        }
    }
    let document = job.ok_or_else(|| Problem::bad("there is no part \"job\" with the document"))?;
    Ok(Received { document, batch })
}

/// What the lines behind the document are.
enum Lines {
    /// JSON of any shape, for the file as it is.
    Json,
    /// Texts, of which the file has the text.
    Text,
}

impl Lines {
    /// By what the job does with them.
    fn of(document: &Map<String, Value>) -> Result<Self, Problem> {
        match document.get("command").and_then(Value::as_str) {
            Some("map") => Ok(Self::Json),
            Some("fetch") if document.contains_key("column") => Ok(Self::Json),
            Some("fetch") => Ok(Self::Text),
            _ => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "lines are inputs of `fetch` and `map`; `parse` and `csv` take files, as multipart/form-data",
            )),
        }
    }

    const fn file_name(&self) -> &'static str {
        match self {
            Self::Json => "input.jsonl",
            Self::Text => "input.txt",
        }
    }
}

/// `application/x-ndjson`: the document, then an input a line.
async fn streamed(mut body: Watched, mut batch: Batch, trouble: &Trouble) -> Result<Received, Problem> {
    let mut head = Vec::new();
    // The document's line may come in pieces, and with the first inputs behind it.
    let rest = loop {
        let Some(bytes) = next(&mut body, trouble).await? else { break None };
        if let Some(end) = memchr::memchr(b'\n', &bytes) {
            head.extend_from_slice(bytes.get(..end).unwrap_or_default());
            break Some(bytes.slice(end + 1..));
        }
        head.extend_from_slice(&bytes);
        if head.len() > DOCUMENT_BYTES_MAX {
            return Err(document_too_large());
        }
    };
    if head.len() > DOCUMENT_BYTES_MAX {
        return Err(document_too_large());
    }
    let document = document(&head)?;
    let Some(mut bytes) = rest else { return Ok(Received { document, batch }) };
    let lines = Lines::of(&document)?;
    let mut file = batch.file(lines.file_name()).await?;
    let (mut line, mut number) = (Vec::new(), 1);
    loop {
        match lines {
            Lines::Json => file.write(&bytes).await?,
            Lines::Text => texts(&bytes, &mut line, &mut number, &mut file).await?,
        }
        match next(&mut body, trouble).await? {
            Some(more) => bytes = more,
            None => break,
        }
    }
    if !line.is_empty() {
        texts(b"\n", &mut line, &mut number, &mut file).await?;
    }
    file.end().await?;
    Ok(Received { document, batch })
}

/// The next bytes of a body.
async fn next(body: &mut Watched, trouble: &Trouble) -> Result<Option<bytes::Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| trouble.problem(&error))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Writes the texts of all lines that end in `bytes`; the beginning of the next stays in `line`.
async fn texts(
    bytes: &[u8],
    line: &mut Vec<u8>,
    number: &mut u64,
    file: &mut Writing<'_>,
) -> Result<(), Problem> {
    let mut rest = bytes;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (head, tail) = rest.split_at(end);
        line.extend_from_slice(head);
        *number += 1;
        if !line.trim_ascii().is_empty() {
            let mut text = text(line, *number)?.into_bytes();
            text.push(b'\n');
            file.write(&text).await?;
        }
        line.clear();
        rest = tail.get(1..).unwrap_or_default();
    }
    line.extend_from_slice(rest);
    if line.len() > LINE_BYTES_MAX {
        let detail = format_args!("line {} is longer than {LINE_BYTES_MAX} bytes", *number + 1);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(())
}

/// The text of one line. In the file that it goes to a line break would make two inputs of it, and an empty one or a # none.
fn text(line: &[u8], number: u64) -> Result<String, Problem> {
    let refuse = |why: &str| {
        let detail = format_args!("line {number}: {why}");
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
    };
    match serde_json::from_slice::<String>(line) {
        Err(_) => refuse("is no JSON string, such as \"https://example.com/\""),
        Ok(text) if text.contains(['\n', '\r']) => refuse("has a line break in its URL"),
        Ok(text) if text.trim().is_empty() || text.trim_start().starts_with('#') => refuse("has no URL"),
        Ok(text) => Ok(text),
    }
}
