//! Prints the records of a job, and continues at the same record after a restart of the service.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;

use super::connection::Connection;
use super::reconnect::Reconnect;
use super::{ClientError, Results, ServiceAddress, say};
use crate::inherited;

/// Prints the records of a job.
///
/// # Errors
/// If the service has no such job or does not come back, or if writing fails.
pub(super) async fn write(address: &ServiceAddress, wanted: &Results) -> Result<(), ClientError> {
    // Requested before the output is opened, so that an unknown job creates no file.
    let mut response = request(address, wanted, wanted.from).await?;
    let mut lines = RecordWriter {
        out: open(wanted.output.as_deref(), wanted.overwrite)?,
        begun: Vec::new(),
        skip: 0,
        written: 0,
    };
    loop {
        let broke = loop {
            match response.frame().await {
                None => return lines.end().map_err(|error| unwritable(wanted, &error)),
                Some(Err(error)) => break error,
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    lines.take(&data).map_err(|error| unwritable(wanted, &error))?;
                }
            }
        };
        let mut broke = ClientError::Unreachable(format!("the records ended early: {broke}"));
        if !wanted.follow {
            return Err(broke);
        }
        let mut reconnect = Reconnect::new();
        response = loop {
            reconnect.wait_or_fail(broke, say).await?;
            match request(address, wanted, lines.again(wanted)).await {
                Ok(response) => break response,
                Err(error) => broke = error,
            }
        };
    }
}

/// Writes records to the output, whole ones only, because half a record could not be taken back.
struct RecordWriter {
    out: Box<dyn Write>,
    /// The beginning of a record whose end has not arrived.
    begun: Vec<u8>,
    /// Number of records to skip, because they are already written.
    skip: u64,
    written: u64,
}

impl RecordWriter {
    /// Takes the next bytes of the response.
    fn take(&mut self, mut data: &[u8]) -> io::Result<()> {
        while self.skip > 0 {
            let Some(end) = memchr::memchr(b'\n', data) else { return Ok(()) };
            data = data.get(end + 1..).unwrap_or_default();
            self.skip -= 1;
        }
        let end = memchr::memrchr(b'\n', data).map_or(0, |end| end + 1);
        let (whole, begun) = data.split_at(end);
        if !whole.is_empty() {
            self.out.write_all(&self.begun)?;
            self.out.write_all(whole)?;
            self.out.flush()?;
            self.written += memchr::memchr_iter(b'\n', whole).count() as u64;
            self.begun.clear();
        }
        self.begun.extend_from_slice(begun);
        Ok(())
    }

    /// Handles the end of the response.
    fn end(mut self) -> io::Result<()> {
        self.out.write_all(&self.begun)?;
        self.out.flush()
    }

    /// Prepares to continue after the written records, and returns the position to request. The service can
    /// skip only if all records are requested; filtered ones are sent again, in the same order, and skipped
    /// here.
    fn again(&mut self, wanted: &Results) -> u64 {
        self.begun.clear();
        if wanted.only.is_none() {
            return wanted.from + self.written;
        }
        self.skip = self.written;
        wanted.from
    }
}

async fn request(address: &ServiceAddress, wanted: &Results, from: u64) -> Result<Incoming, ClientError> {
    let Results { id, follow, only, .. } = wanted;
    let mut path = format!("/v1/jobs/{id}/records?from={from}&follow={}", u8::from(*follow));
    if let Some(only) = only {
        path += &format!("&only={only}");
    }
    let mut connection = Connection::open(address).await?;
    let response = connection.send(Method::GET, &path, HeaderMap::new(), Empty::new().boxed()).await?;
    Ok(response.into_body())
}

fn open(path: Option<&Path>, overwrite: bool) -> Result<Box<dyn Write>, ClientError> {
    let Some(path) = path else {
        let closed = |error| ClientError::Here(format!("cannot write to standard output: {error}"));
        return inherited::check_stdout().map(|()| Box::new(io::stdout()) as _).map_err(closed);
    };
    let opened: io::Result<File> = if overwrite {
        File::create(path)
    } else {
        OpenOptions::new().write(true).create_new(true).open(path)
    };
    match opened {
        Ok(file) => Ok(Box::new(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(ClientError::Here(format!(
            "{} exists; name another output, or replace it with --overwrite",
            path.display()
        ))),
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::view::JobId;

    #[derive(Default, Clone)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written when an answer breaks off after each of these many bytes.
    fn written(only: Option<&str>, breaks: usize) -> String {
        const ALL: &str = "{\"id\":0}\n{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n";
        let wanted = Results {
            id: JobId(1),
            follow: true,
            from: 1,
            only: only.map(str::to_owned),
            output: None,
            overwrite: false,
        };
        let out = Written::default();
        let mut lines = RecordWriter { out: Box::new(out.clone()), begun: Vec::new(), skip: 0, written: 0 };
        let mut from = wanted.from;
        // The second answer breaks off too, and the third does not.
        for bytes in [breaks, breaks + 3, usize::MAX] {
            let answer: String = ALL.split_inclusive('\n').skip(usize::try_from(from).unwrap()).collect();
            for byte in answer.as_bytes().iter().take(bytes) {
                lines.take(std::slice::from_ref(byte)).unwrap();
            }
            if bytes < usize::MAX {
                from = lines.again(&wanted);
            }
        }
        lines.end().unwrap();
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn wherever_an_answer_breaks_off_each_record_is_written_once() {
        for breaks in 0..30 {
            for only in [None, Some("failed")] {
                let want = "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n";
                assert_eq!(written(only, breaks), want, "{only:?} {breaks}");
            }
        }
    }
}
