//! `GET /v1/jobs/{id}/records`: lines of a growing file, up to the end of its committed part.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::channel::{Channel, Sender};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Api;
use super::auth::Peer;
use super::jobs::job_id;
use super::pools::Place;
use super::problem::{Document, Problem};
use super::query::Query;
use super::views::acceptable;
use crate::service::{Records, Service};
use crate::view::JobId;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes of a record that are held until its end has been read. A longer record is passed on as it is read. A record
/// with an error is never longer: it holds a message and the end of a worker's standard error, and no page.
const HELD_BYTES_MAX: usize = 1 << 20;

/// Pieces queued for a client that is slower than the disk.
const PIECES: usize = 2;

/// Interval at which a growing file is checked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which records to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordFilter {
    All,
    Failed,
    Quarantined,
}

/// A job's records.
#[utoipa::path(get, path = "/v1/jobs/{id}/records", tag = "jobs", params(
    ("id" = u64, Path, minimum = 1),
    ("from" = Option<u64>, Query, description = "skip the first N records"),
    ("limit" = Option<u64>, Query, description = "maximum number of records"),
    ("follow" = Option<super::schema::Switch>, Query, description = "continue until the job has ended"),
    ("only" = Option<super::schema::Only>, Query, description = "only these records"),
), responses(
    (status = 200, description = "one record per line", body = String, content_type = "application/x-ndjson"),
    (status = "default", body = Document<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    acceptable(&headers, "application/x-ndjson")?;
    let query = Query::read(&uri, &["from", "limit", "follow", "only"])?;
    let id = job_id(&id)?;
    let only = match query.text("only") {
        None => RecordFilter::All,
        Some("failed") => RecordFilter::Failed,
        Some("quarantined") => RecordFilter::Quarantined,
        Some(other) => {
            let detail = format_args!("only must be \"failed\" or \"quarantined\", not {other:?}");
            return Err(Problem::bad(detail));
        }
    };
    let skip = query.number("from")?.unwrap_or(0);
    let limit = query.number("limit")?.unwrap_or(u64::MAX);
    let follow = query.switch("follow")?;
    let place = if follow {
        let place = api.streams.try_take(&peer);
        Some(place.ok_or_else(|| Problem::busy("too many clients follow records or events"))?)
    } else {
        None
    };
    let (sender, body) = Channel::<Bytes, io::Error>::new(PIECES);
    let (_, records) = api.service.job(id)?;
    check_file(id, &records).await?;
    let lines = RecordLines::new(only, skip, limit);
    tokio::spawn(send(Arc::clone(&api), id, records, lines, place, sender));
    let mut response = (StatusCode::OK, Body::new(body)).into_response();
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Refuses to begin with records that are not there, while there is still a status to say so.
async fn check_file(id: JobId, records: &Records) -> Result<(), Problem> {
    let (path, committed) = (records.path.clone(), records.committed());
    let found = match spawn_blocking(move || path.metadata()).await {
        Ok(found) => found,
        Err(_) => return Err(Problem::busy("the service is stopping")),
    };
    let why = match found {
        _ if committed == 0 => return Ok(()),
        Ok(found) if found.len() >= committed => return Ok(()),
        Ok(found) => format!("the file has {} of {committed} bytes", found.len()),
        Err(error) => error.to_string(),
    };
    let name = records.path.file_name().unwrap_or_default().display();
    let detail = format_args!(
        "the records of job {id} are lost: cannot read jobs/{id}/{name} in the state directory: {why}; restore the file from \
         a backup, or submit the job again"
    );
    Err(Problem::new(StatusCode::GONE, detail))
}

/// Sends the existing records and, with a follower's place, new ones as they are committed, until
/// the client is gone.
async fn send(
    api: Arc<Api>,
    id: JobId,
    records: Records,
    mut lines: RecordLines,
    follows: Option<Place>,
    mut sender: Sender<Bytes, io::Error>,
) {
    let mut file: Option<Arc<File>> = None;
    loop {
        // Check in this order: what was committed before the job ended is everything.
        let will_come = follows.is_some() && !has_ended(&api.service, id);
        let committed = records.committed();
        if file.is_none() && committed > 0 {
            let path = records.path.clone();
            match spawn_blocking(move || File::open(path)).await {
                Ok(Ok(opened)) => file = Some(Arc::new(opened)),
                Ok(Err(error)) => return sender.abort(error),
                Err(_) => return,
            }
        }
        while let Some(open) = file.as_ref().filter(|_| !lines.is_enough() && lines.position < committed) {
            let open = Arc::clone(open);
            let read = spawn_blocking(move || {
                let shown = lines.read(&open, committed);
                (lines, shown)
            });
            match read.await {
                Ok((state, Ok(shown))) => {
                    lines = state;
                    if !shown.is_empty() && sender.send_data(shown).await.is_err() {
                        return;
                    }
                }
                // Abort the response, so that the client does not take it for complete.
                Ok((_, Err(error))) => return sender.abort(error),
                Err(_) => return,
            }
        }
        if !will_come || lines.is_enough() {
            return;
        }
        // A following client must learn that these were not all records.
        if api.is_stopping() {
            return sender.abort(io::Error::other("the service is stopping"));
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = api.stopped() => {}
        }
        // This notices a client that is gone, at the latest, although there is nothing to send.
        if sender.send_data(Bytes::new()).await.is_err() {
            return;
        }
    }
}

/// Whether no more records will come.
fn has_ended(service: &Service, id: JobId) -> bool {
    service.job(id).map_or(true, |(job, _)| job.state.has_ended())
}

/// A position in a file of lines, and which lines to return from there.
struct RecordLines {
    only: RecordFilter,
    /// Lines still to skip.
    skip: u64,
    /// Lines still to return.
    limit: u64,
    /// The beginning of a line whose end has not been read, unless it was passed on.
    line: Vec<u8>,
    /// Whether the line is longer than what is held.
    is_long: bool,
    /// Bytes read so far.
    position: u64,
}

impl RecordLines {
    const fn new(only: RecordFilter, skip: u64, limit: u64) -> Self {
        Self { only, skip, limit, line: Vec::new(), is_long: false, position: 0 }
    }

    const fn is_enough(&self) -> bool {
        self.limit == 0
    }

    /// Reads at most one chunk further, not beyond `committed`, and returns the wanted lines.
    fn read(&mut self, file: &File, committed: u64) -> io::Result<Bytes> {
        let left = usize::try_from(committed.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(CHUNK_BYTES)];
        let read = file.read_at(&mut chunk, self.position)?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file of records has become shorter",
            ));
        }
        chunk.truncate(read);
        self.position += read as u64;
        let mut shown = Vec::new();
        let mut rest = chunk.as_slice();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end + 1);
            rest = tail;
            self.take(head, &mut shown);
            self.end(&mut shown);
            if self.is_enough() {
                return Ok(shown.into());
            }
        }
        self.take(rest, &mut shown);
        Ok(shown.into())
    }

    /// Takes in a part of a line.
    fn take(&mut self, part: &[u8], shown: &mut Vec<u8>) {
        if self.skip > 0 || self.is_enough() {
            return;
        }
        if !self.is_long {
            self.line.extend_from_slice(part);
            self.is_long = self.line.len() > HELD_BYTES_MAX;
            if !self.is_long {
                return;
            }
        }
        // Of a line that has just become too long, all of it is in `line`.
        let held = std::mem::take(&mut self.line);
        if self.only == RecordFilter::All {
            shown.extend_from_slice(if held.is_empty() { part } else { &held });
        }
    }

    /// Ends a line.
    fn end(&mut self, shown: &mut Vec<u8>) {
        let is_long = std::mem::take(&mut self.is_long);
        if self.skip > 0 {
            self.skip -= 1;
        } else if !self.is_enough() {
            let is_shown =
                if is_long { self.only == RecordFilter::All } else { is_wanted(&self.line, self.only) };
            self.limit -= u64::from(is_shown);
            if is_shown {
                shown.append(&mut self.line);
            }
        }
        self.line.clear();
    }
}

/// Whether a record matches. A page may have a field called `error`, so searching for the word is
/// not enough.
fn is_wanted(line: &[u8], only: RecordFilter) -> bool {
    #[derive(Deserialize)]
    struct Record {
        error: Option<Failure>,
    }
    #[derive(Deserialize)]
    struct Failure {
        evidence: Option<IgnoredAny>,
    }
    if only == RecordFilter::All {
        return true;
    }
    if memchr::memmem::find(line, b"\"error\":").is_none() {
        return false;
    }
    let error = serde_json::from_slice::<Record>(line).ok().and_then(|record| record.error);
    match only {
        RecordFilter::All => true,
        RecordFilter::Failed => error.is_some(),
        RecordFilter::Quarantined => error.is_some_and(|error| error.evidence.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const OK: &str = "{\"id\":0,\"fields\":{\"error\":\"x\"}}\n";
    const FAILED: &str = "{\"id\":1,\"error\":{\"kind\":\"timeout\",\"message\":\"m\"}}\n";
    const SET_ASIDE: &str =
        "{\"id\":2,\"error\":{\"kind\":\"worker_crash\",\"message\":\"m\",\"evidence\":{\"signal\":11}}}\n";

    fn shown(text: &str, committed: usize, only: RecordFilter, skip: u64, limit: u64) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut lines = RecordLines::new(only, skip, limit);
        let mut shown = Vec::new();
        while lines.position < committed as u64 && !lines.is_enough() {
            shown.extend_from_slice(&lines.read(&file, committed as u64).unwrap());
        }
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn lines_are_skipped_counted_and_chosen() {
        let text = [OK, FAILED, SET_ASIDE, OK].concat();
        let all = |skip, limit| shown(&text, text.len(), RecordFilter::All, skip, limit);
        assert_eq!(all(0, u64::MAX), text);
        assert_eq!(all(1, 1), FAILED);
        assert_eq!(all(3, u64::MAX), OK);
        assert_eq!(all(4, u64::MAX), "");
        assert_eq!(all(0, 0), "");
        assert_eq!(shown(&text, text.len(), RecordFilter::Failed, 0, u64::MAX), [FAILED, SET_ASIDE].concat());
        assert_eq!(shown(&text, text.len(), RecordFilter::Failed, 0, 1), FAILED);
        assert_eq!(shown(&text, text.len(), RecordFilter::Quarantined, 0, u64::MAX), SET_ASIDE);
    }

    #[test]
    fn only_committed_whole_lines_are_shown() {
        let text = [OK, FAILED].concat();
        assert_eq!(shown(&text, OK.len(), RecordFilter::All, 0, u64::MAX), OK);
        assert_eq!(shown(&text, OK.len() + 5, RecordFilter::All, 0, u64::MAX), OK);
    }

    #[test]
    fn lines_longer_than_a_chunk_are_whole() {
        for bytes in [3 * CHUNK_BYTES, HELD_BYTES_MAX - 40, HELD_BYTES_MAX, 3 * HELD_BYTES_MAX] {
            check_long(bytes);
        }
    }

    fn check_long(bytes: usize) {
        let long = format!("{{\"id\":0,\"fields\":\"{}\"}}\n", "x".repeat(bytes));
        let text = [long.as_str(), FAILED, long.as_str()].concat();
        assert_eq!(shown(&text, text.len(), RecordFilter::All, 0, u64::MAX), text);
        assert_eq!(
            shown(&text, text.len(), RecordFilter::All, 1, u64::MAX),
            [FAILED, long.as_str()].concat()
        );
        assert_eq!(shown(&text, text.len(), RecordFilter::Failed, 0, u64::MAX), FAILED);
    }
}
