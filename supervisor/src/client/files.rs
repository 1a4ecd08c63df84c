//! Submits a job and uploads its files. Files are sent as they are read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Full};
use tokio::task::spawn_blocking;

use super::connection::{Answer, Connection};
use super::{ClientError, Files, ServiceAddress, Submit};
use crate::source;

/// Bytes that are read and sent at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Submits a job.
///
/// # Errors
/// If a file cannot be read, or the service refuses the job.
pub(super) async fn submit(address: &ServiceAddress, submit: Submit) -> Result<Answer, ClientError> {
    let Submit { document, files, idempotency_key, .. } = submit;
    let files = match files {
        Files::Named(files) => files,
        Files::Pages(paths) => pages(&paths)?,
    };
    // Checked before anything is sent, so that a mistyped name submits no job.
    for path in files.iter().filter(|path| *path != Path::new("-")) {
        File::open(path).map_err(|error| unreadable(path, &error))?;
    }
    let mut headers = HeaderMap::new();
    if let Some(key) = idempotency_key {
        let key = HeaderValue::from_str(&key).map_err(|_| {
            ClientError::Here("--idempotency-key: use visible ASCII characters only".to_owned())
        })?;
        headers.insert("idempotency-key", key);
    }
    let is_map = document.get("command").is_some_and(|command| command == "map");
    let document = serde_json::Value::Object(document).to_string();
    let mut connection = Connection::open(address).await?;
    if files.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Full::new(Bytes::from(document)).boxed();
        let response = connection.send(Method::POST, "/v1/jobs", headers, body).await?;
        return connection.whole(response).await;
    }
    let boundary = format!("muster-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let kind = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
    headers.insert(header::CONTENT_TYPE, kind.map_err(|error| ClientError::Here(error.to_string()))?);
    let (sender, body) = Channel::new(4);
    let sending = tokio::spawn(send(sender, boundary, document, files, is_map));
    let response = connection.send(Method::POST, "/v1/jobs", headers, body.boxed()).await;
    match response {
        Ok(response) => connection.whole(response).await,
        // If reading a file failed, that broke the connection, and is the error to report.
        Err(ClientError::Unreachable(why)) => match sending.await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Err(ClientError::Unreachable(why)),
        },
        Err(error) => Err(error),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> ClientError {
    ClientError::Here(format!("cannot read {}: {error}", path.display()))
}

/// Sends the parts of the form in order. If it is cut short, its end is missing and the service refuses it.
async fn send(
    mut sender: Sender<Bytes>,
    boundary: String,
    document: String,
    files: Vec<PathBuf>,
    is_map: bool,
) -> Result<(), ClientError> {
    let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{document}\r\n");
    let mut gone = sender.send_data(head.into()).await.is_err();
    for path in files {
        let name = if path == Path::new("-") {
            // The name tells the service what the lines are.
            (if is_map { "stdin.jsonl" } else { "stdin.txt" }).to_owned()
        } else {
            path.file_name().unwrap_or_default().to_string_lossy().replace(['"', '\r', '\n', '\\'], "_")
        };
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"input\"; filename=\"{name}\"\r\n\r\n"
        );
        gone = gone || sender.send_data(head.into()).await.is_err();
        let mut file = open(&path)?;
        while !gone {
            let (chunk, rest) = spawn_blocking(move || {
                let mut chunk = vec![0; CHUNK_BYTES];
                (read(&mut *file, &mut chunk).map(|read| chunk.get(..read).map(Bytes::copy_from_slice)), file)
            })
            .await
            .map_err(|error| ClientError::Here(error.to_string()))?;
            file = rest;
            match chunk.map_err(|error| unreadable(&path, &error))? {
                Some(chunk) if !chunk.is_empty() => gone = sender.send_data(chunk).await.is_err(),
                Some(_) | None => break,
            }
        }
        gone = gone || sender.send_data(Bytes::from_static(b"\r\n")).await.is_err();
    }
    if !gone {
        // If the service has closed the connection, the response says why.
        let _ = sender.send_data(format!("--{boundary}--\r\n").into()).await;
    }
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn io::Read + Send>, ClientError> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn read(file: &mut (dyn io::Read + Send), chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Returns the named files, and the pages below named directories: those that a local `parse` would read.
fn pages(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ClientError> {
    let mut pages = Vec::new();
    for path in paths {
        let found = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if found.is_dir() {
            pages.extend(source::pages(path).map_err(ClientError::Here)?);
        } else {
            pages.push(path.clone());
        }
    }
    Ok(pages)
}
