//! `POST /v1/jobs`: a document alone, with files, or with streamed inputs.

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
use super::incoming::{OpenFile, UploadBatch};
use super::jobs::{ask, created};
use super::problem::{Document, Problem};
use super::query::Query;
use super::views::{acceptable, content_type};
use super::watched::{BodyFailure, LimitedBody, too_large};
use crate::service::{Idempotency, Submission};
use crate::view::JobView;

/// Maximum size of a document. It is kept in memory, where it takes several times as much; long
/// lists of inputs do not belong in it.
const DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Maximum number of values in a document. Each takes some hundred bytes on its way to a job.
const DOCUMENT_VALUES_MAX: usize = 50_000;

/// Maximum length of a line with a URL.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// How long a submission waits while others upload.
const TURN: std::time::Duration = std::time::Duration::from_secs(10);

/// The header that makes repeated submissions one job.
const KEY: &str = "idempotency-key";

/// The contents of a request body.
struct SubmissionParts {
    document: Map<String, Value>,
    batch: UploadBatch,
}

/// Submits a job.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "a submission with the same key and content returns the same job")),
    request_body(description = "a job document, with the keys of a job file; see docs/API.md", content(
        (super::schema::JobDocument = "application/json"),
        (super::schema::JobForm = "multipart/form-data"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 201, body = JobView, headers(("Location" = String, description = "location of the job"))),
        (status = 200, description = "the job already existed, by its key", body = JobView),
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
    let Ok(Some(_place)) = timeout(TURN, api.uploads.take(&peer)).await else {
        return Err(Problem::busy("too many uploads at once; try again"));
    };
    let kind = content_type(headers);
    let batch = UploadBatch::new(&api.incoming, key.is_some());
    let (parts, body) = request.into_parts();
    let body = LimitedBody::new(body, bytes_max);
    let failure = body.failure();
    let received = match kind.as_deref() {
        Some("application/json") => plain(body, batch, &failure).await?,
        Some("application/x-ndjson") => streamed(body, batch, &failure).await?,
        Some("multipart/form-data") => {
            let request = Request::from_parts(parts, Body::new(body));
            let form = Multipart::from_request(request, &()).await;
            let form = form.map_err(|error| Problem::bad(error.body_text()))?;
            with_files(form, batch, &failure).await?
        }
        Some(_) | None => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be application/json, multipart/form-data or application/x-ndjson",
            ));
        }
    };
    hand_in(&api, &peer, received, key).await
}

async fn hand_in(
    api: &Arc<Api>,
    peer: &Peer,
    received: SubmissionParts,
    key: Option<String>,
) -> Result<Response, Problem> {
    let SubmissionParts { document, batch } = received;
    let uploads = batch.sync().await?;
    let idempotency = key.map(|key| {
        let document = serde_json::to_vec(&document).unwrap_or_default();
        Idempotency { key, digest: batch.digest(&document) }
    });
    let (sender, is_local) = (peer.to_string(), matches!(peer, Peer::Unix { .. }));
    let submission = Submission { document, uploads, idempotency, sender, is_local };
    // The batch moves along: only the closure knows whether to keep its files, even if the client
    // is gone by then.
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
        _ => Err(Problem::bad("Idempotency-Key must be 1 to 255 visible ASCII characters")),
    }
}

/// Parses a document.
fn document(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if values(bytes) > DOCUMENT_VALUES_MAX {
        let detail = format_args!(
            "the document has more than {DOCUMENT_VALUES_MAX} values; send long lists as a file, or as application/x-ndjson"
        );
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(_) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the job must be a JSON object")),
        Err(error) => Err(Problem::bad(format_args!("the job is not valid JSON: {error}"))),
    }
}

/// Counts the values of a document without building them. In what is not JSON it may count more.
fn values(document: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in document {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

fn document_too_large() -> Problem {
    let detail = format_args!(
        "the document is larger than {DOCUMENT_BYTES_MAX} bytes; send long lists as a file, or as application/x-ndjson"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// `application/json`: the document and nothing else.
async fn plain(
    body: LimitedBody,
    batch: UploadBatch,
    failure: &BodyFailure,
) -> Result<SubmissionParts, Problem> {
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
        failure.problem(&error)
    })?;
    Ok(SubmissionParts { document: document(&bytes)?, batch })
}

/// `multipart/form-data`: the document in `job`, files in `input`.
async fn with_files(
    mut form: Multipart,
    mut batch: UploadBatch,
    failure: &BodyFailure,
) -> Result<SubmissionParts, Problem> {
    let mut job: Option<Map<String, Value>> = None;
    while let Some(mut field) =
        form.next_field().await.map_err(|error| failure.problem(&error.body_text()))?
    {
        match field.name() {
            Some("job") if job.is_some() => return Err(Problem::bad("the form has two parts \"job\"")),
            Some("job") => {
                let mut bytes = Vec::new();
                while let Some(chunk) =
                    field.chunk().await.map_err(|error| failure.problem(&error.body_text()))?
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
                    field.chunk().await.map_err(|error| failure.problem(&error.body_text()))?
                {
                    file.write(&chunk).await?;
                }
                file.end().await?;
            }
            other => {
                let name = other.unwrap_or_default();
                return Err(Problem::bad(format_args!(
                    "unknown part {name:?}; parts are \"job\" and \"input\""
                )));
            }
        }
    }
    let document = job.ok_or_else(|| Problem::bad("the form has no part \"job\" with the document"))?;
    Ok(SubmissionParts { document, batch })
}

/// The type of the lines after the document.
enum LineFormat {
    /// JSON of any shape, written to the file as it is.
    Json,
    /// JSON strings, whose text is written to the file.
    Text,
}

impl LineFormat {
    /// Chooses by what the job does with the lines.
    fn of(document: &Map<String, Value>) -> Result<Self, Problem> {
        match document.get("command").and_then(Value::as_str) {
            Some("map") => Ok(Self::Json),
            Some("fetch" | "crawl") if document.contains_key("column") => Ok(Self::Json),
            Some("fetch" | "crawl") => Ok(Self::Text),
            _ => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "only `fetch`, `crawl` and `map` accept lines; `parse` and `csv` accept files, as multipart/form-data",
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

/// `application/x-ndjson`: the document, then one input per line.
async fn streamed(
    mut body: LimitedBody,
    mut batch: UploadBatch,
    failure: &BodyFailure,
) -> Result<SubmissionParts, Problem> {
    let mut head = Vec::new();
    // The document's line may arrive in pieces, followed by the first inputs.
    let rest = loop {
        let Some(bytes) = next(&mut body, failure).await? else { break None };
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
    let Some(mut bytes) = rest else { return Ok(SubmissionParts { document, batch }) };
    let lines = LineFormat::of(&document)?;
    let mut file = batch.file(lines.file_name()).await?;
    let (mut line, mut number) = (Vec::new(), 1);
    loop {
        match lines {
            LineFormat::Json => file.write(&bytes).await?,
            LineFormat::Text => texts(&bytes, &mut line, &mut number, &mut file).await?,
        }
        match next(&mut body, failure).await? {
            Some(more) => bytes = more,
            None => break,
        }
    }
    if !line.is_empty() {
        texts(b"\n", &mut line, &mut number, &mut file).await?;
    }
    file.end().await?;
    Ok(SubmissionParts { document, batch })
}

/// Returns the next bytes of a body.
async fn next(body: &mut LimitedBody, failure: &BodyFailure) -> Result<Option<bytes::Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure.problem(&error))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Writes the text of each line that ends in `bytes`. The beginning of the next line stays in
/// `line`.
async fn texts(
    bytes: &[u8],
    line: &mut Vec<u8>,
    number: &mut u64,
    file: &mut OpenFile<'_>,
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

/// Returns the text of one line. It is written to a list file, where a line break would split it
/// into two inputs, and an empty line or a # would make it no input.
fn text(line: &[u8], number: u64) -> Result<String, Problem> {
    let refuse = |why: &str| {
        let detail = format_args!("line {number}: {why}");
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
    };
    match serde_json::from_slice::<String>(line) {
        Err(_) => refuse("not a JSON string, such as \"https://example.com/\""),
        Ok(text) if text.contains(['\n', '\r']) => refuse("the URL contains a line break"),
        Ok(text) if text.trim().is_empty() || text.trim_start().starts_with('#') => {
            refuse("the URL is missing")
        }
        Ok(text) => Ok(text),
    }
}
