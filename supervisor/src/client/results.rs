//! Writes a job's records, and goes on where it was when the service comes back.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Empty};
use shared::clock;
use tokio::time::sleep;

use super::connection::Connection;
use super::{ClientError, Place, Results};

/// How long a service that has gone is waited for: it may be restarting.
pub(super) const COMES_BACK: Duration = Duration::from_secs(30);

/// Time between two tries.
pub(super) const TRY_EVERY: Duration = Duration::from_millis(500);

/// Writes them.
///
/// # Errors
/// When the service has none, is gone for good, or the output does not take them.
pub(super) async fn write(place: &Place, wanted: &Results) -> Result<(), ClientError> {
    // Asked for before the output is touched: a job that is not there leaves no file.
    let mut response = ask(place, wanted, wanted.from).await?;
    let mut out = open(wanted.output.as_deref(), wanted.overwrite)?;
    let mut lines = 0_u64;
    loop {
        let broke = loop {
            match response.frame().await {
                None => break None,
                Some(Err(error)) => break Some(error.to_string()),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    lines += memchr::memchr_iter(b'\n', &data).count() as u64;
                    out.write_all(&data)
                        .and_then(|()| out.flush())
                        .map_err(|error| unwritable(wanted, &error))?;
                }
            }
        };
        let Some(why) = broke else { return Ok(()) };
        // Records are sent whole or not at all only if none of them is left out.
        if !wanted.follow || wanted.only.is_some() {
            return Err(ClientError::Unreachable(format!("the records broke off: {why}")));
        }
        response = again(place, wanted, wanted.from + lines).await?;
    }
}

async fn ask(place: &Place, wanted: &Results, from: u64) -> Result<hyper::body::Incoming, ClientError> {
    let Results { id, follow, only, .. } = wanted;
    let mut path = format!("/v1/jobs/{id}/records?from={from}&follow={}", u8::from(*follow));
    if let Some(only) = only {
        path += &format!("&only={only}");
    }
    let mut connection = Connection::open(place).await?;
    let response = connection.send(Method::GET, &path, HeaderMap::new(), Empty::new().boxed()).await?;
    Ok(response.into_body())
}

async fn again(place: &Place, wanted: &Results, from: u64) -> Result<hyper::body::Incoming, ClientError> {
    let until = clock::now() + COMES_BACK;
    loop {
        match ask(place, wanted, from).await {
            Err(ClientError::Unreachable(_)) if clock::now() < until => sleep(TRY_EVERY).await,
            other => return other,
        }
    }
}

fn open(path: Option<&Path>, overwrite: bool) -> Result<Box<dyn Write>, ClientError> {
    let Some(path) = path else { return Ok(Box::new(io::stdout())) };
    let opened: io::Result<File> = if overwrite {
        File::create(path)
    } else {
        OpenOptions::new().write(true).create_new(true).open(path)
    };
    match opened {
        Ok(file) => Ok(Box::new(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(ClientError::Here(format!("{} exists; --overwrite replaces it", path.display())))
        }
        Err(error) => Err(ClientError::Here(format!("cannot write {}: {error}", path.display()))),
    }
}

fn unwritable(wanted: &Results, error: &io::Error) -> ClientError {
    match &wanted.output {
        None if error.kind() == io::ErrorKind::BrokenPipe => ClientError::Closed,
        None => ClientError::Here(format!("cannot write to standard output: {error}")),
        Some(path) => ClientError::Here(format!("cannot write {}: {error}", path.display())),
    }
}
