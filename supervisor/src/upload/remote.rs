//! The operations on the store that Muster needs, on a small runtime of its own. Every call blocks
//! until the response.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, BackoffConfig, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, PutOptions, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::fault::{fault, is_not_implemented};
use super::http::Connector;
use super::working::NoteFile;
use crate::objects::{Object, ObjectError};

/// Larger files are uploaded in parts of at least this size. Stores reject parts below 5 MiB,
/// except the last.
pub(super) const PART_BYTES: u64 = 16 << 20;

/// Maximum number of parts in a store.
const PARTS_MAX: u64 = 10_000;

/// Parts in flight at once. Each is held in memory.
const PARTS_IN_FLIGHT: usize = 4;

/// Retries of one request, and the time within which they may begin.
const RETRIES: usize = 6;
const RETRY_FOR: Duration = Duration::from_secs(90);

/// The store operations that are used here.
pub(super) trait Bucket: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Bucket for T {}

/// The store.
#[derive(Debug)]
pub(super) struct Remote {
    object: Object,
    bucket: Arc<dyn Bucket>,
    runtime: Runtime,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ObjectHead {
    pub(super) bytes: u64,
    /// The metadata given at its upload.
    pub(super) metadata: BTreeMap<String, String>,
}

/// A file to upload.
#[derive(Debug)]
pub(super) struct FileUpload<'a> {
    pub(super) path: &'a Path,
    pub(super) key: String,
    pub(super) bytes: u64,
    pub(super) content_type: &'static str,
    pub(super) metadata: BTreeMap<String, String>,
    /// Whether an existing object of that key is replaced.
    pub(super) replaces: bool,
}

impl Remote {
    /// Creates the client. Opens no connection yet.
    pub(super) fn new(object: &Object) -> Result<Self, ObjectError> {
        let broken = |why: String| ObjectError::Store {
            doing: "reach",
            url: object.url.to_string(),
            why,
            advice: Some("check the AWS_* variables"),
        };
        let connector = Connector::new().map_err(|error| broken(error.to_string()))?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&object.url.bucket)
            .with_http_connector(connector)
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: if object.access.has_credentials() { RETRIES } else { 0 },
                retry_timeout: RETRY_FOR,
            });
        for (name, value) in object.access.iter() {
            let key = name
                .to_ascii_lowercase()
                .parse()
                .map_err(|_| broken(format!("{name} is not a known variable")))?;
            builder = builder.with_config(key, value);
        }
        let bucket = builder.build().map_err(|error| broken(error.to_string()))?;
        Self::over(object, Arc::new(bucket))
    }

    /// Uses an existing store.
    pub(super) fn over(object: &Object, bucket: Arc<dyn Bucket>) -> Result<Self, ObjectError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|cause| ObjectError::Working { path: object.directory.clone(), cause })?;
        Ok(Self { object: object.clone(), bucket, runtime })
    }

    fn wait<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ObjectError> {
        self.runtime.block_on(work).map_err(|error| fault(&self.object, doing, &error))
    }

    fn key(&self, key: &str) -> Result<Key, ObjectError> {
        Key::parse(key).map_err(|error| fault(&self.object, "name", &error.into()))
    }

    /// Checks, before hours of work, that this key can be written: begins an upload and aborts it.
    pub(super) fn probe(&self, key: &str) -> Result<(), ObjectError> {
        let key = self.key(key)?;
        let id = self.wait("write", self.bucket.create_multipart(&key))?;
        // If aborting is not permitted, an empty upload is left behind.
        let _ = self.runtime.block_on(self.bucket.abort_multipart(&key, &id));
        Ok(())
    }

    /// Returns what is known of an object, if it exists.
    pub(super) fn head(&self, key: &str) -> Result<Option<ObjectHead>, ObjectError> {
        let key = self.key(key)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.runtime.block_on(self.bucket.get_opts(&key, options)) {
            Ok(found) => {
                let metadata = found.attributes.iter().filter_map(|(attribute, value)| {
                    let Attribute::Metadata(name) = attribute else { return None };
                    Some((name.to_string(), value.to_string()))
                });
                Ok(Some(ObjectHead { bytes: found.meta.size, metadata: metadata.collect() }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fault(&self.object, "look at", &error)),
        }
    }

    /// Returns the names of the objects directly under the prefix.
    pub(super) fn list(&self) -> Result<Vec<String>, ObjectError> {
        let prefix = self.key(&self.object.url.key)?;
        let prefix = Some(&prefix).filter(|_| !self.object.url.key.is_empty());
        let listed = self.wait("list", self.bucket.list_with_delimiter(prefix))?;
        Ok(listed.objects.iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect())
    }

    /// Deletes an object if it exists.
    pub(super) fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let key = self.key(key)?;
        match self.runtime.block_on(self.bucket.delete(&key)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(fault(&self.object, "replace", &error)),
        }
    }

    /// Aborts the unfinished uploads of earlier runs. If the store does not know one, it is already
    /// gone.
    pub(super) fn abort_begun(&self, note_file: &mut NoteFile) -> Result<(), ObjectError> {
        for upload in note_file.note.begun.clone() {
            let key = self.key(&upload.key)?;
            let _ = self.runtime.block_on(self.bucket.abort_multipart(&key, &upload.id));
            note_file.ended(&upload.id)?;
        }
        Ok(())
    }

    /// Uploads a file, in parts if it is large. Returns false if an object of that key exists that
    /// must be kept.
    pub(super) fn put(&self, upload: &FileUpload<'_>, note_file: &mut NoteFile) -> Result<bool, ObjectError> {
        let unreadable = |cause| ObjectError::Working { path: upload.path.to_owned(), cause };
        let mut file = File::open(upload.path).map_err(unreadable)?;
        if upload.bytes <= PART_BYTES {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(unreadable)?;
            return self.put_at_once(upload, bytes);
        }
        let key = self.key(&upload.key)?;
        let options =
            PutMultipartOptions { attributes: attributes(upload), ..PutMultipartOptions::default() };
        let id = self.wait("upload", self.bucket.create_multipart_opts(&key, options))?;
        note_file.begun(&upload.key, &id)?;
        let uploaded = self.runtime.block_on(self.put_parts(&mut file, upload, &key, &id));
        if uploaded.is_err() {
            let _ = self.runtime.block_on(self.bucket.abort_multipart(&key, &id));
        }
        // Whether it was completed or aborted, nothing is left to clean up.
        note_file.ended(&id)?;
        uploaded.map(|()| true)
    }

    fn put_at_once(&self, upload: &FileUpload<'_>, bytes: Vec<u8>) -> Result<bool, ObjectError> {
        let key = self.key(&upload.key)?;
        let payload = object_store::PutPayload::from(bytes);
        let put = |mode| {
            let options = PutOptions { mode, attributes: attributes(upload), ..PutOptions::default() };
            self.runtime.block_on(self.bucket.put_opts(&key, payload.clone(), options))
        };
        let mode = if upload.replaces { PutMode::Overwrite } else { PutMode::Create };
        let done = match put(mode.clone()) {
            // The store has no conditional writes. The earlier check that the object does not exist
            // must suffice.
            Err(error) if mode == PutMode::Create && is_not_implemented(&error) => put(PutMode::Overwrite),
            done => done,
        };
        match done {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(error) => Err(fault(&self.object, "upload", &error)),
        }
    }

    async fn put_parts(
        &self,
        file: &mut File,
        upload: &FileUpload<'_>,
        key: &Key,
        id: &String,
    ) -> Result<(), ObjectError> {
        let failed = |error: &object_store::Error| fault(&self.object, "upload", error);
        let part_bytes = part_bytes(upload.bytes);
        let mut parts: BTreeMap<usize, PartId> = BTreeMap::new();
        let mut in_flight = JoinSet::new();
        let mut at = 0;
        loop {
            while at < upload.bytes && in_flight.len() < PARTS_IN_FLIGHT {
                let number = usize::try_from(at / part_bytes).unwrap_or(usize::MAX);
                let bytes = read(file, at, part_bytes.min(upload.bytes - at))
                    .map_err(|cause| ObjectError::Working { path: upload.path.to_owned(), cause })?;
                at += part_bytes;
                let (bucket, key, id) = (Arc::clone(&self.bucket), key.clone(), id.clone());
                in_flight
                    .spawn(async move { (number, bucket.put_part(&key, &id, number, bytes.into()).await) });
            }
            match in_flight.join_next().await {
                None => break,
                Some(Ok((number, part))) => drop(parts.insert(number, part.map_err(|error| failed(&error))?)),
                Some(Err(error)) => return Err(failed(&error.into())),
            }
        }
        let parts = parts.into_values().collect();
        self.bucket.complete_multipart(key, id, parts).await.map(drop).map_err(|error| failed(&error))
    }
}

fn attributes(upload: &FileUpload<'_>) -> Attributes {
    let metadata =
        upload.metadata.iter().map(|(name, value)| (Attribute::Metadata(name.clone().into()), value.clone()));
    let content_type = (Attribute::ContentType, upload.content_type.to_owned());
    metadata.chain([content_type]).collect()
}

/// Returns the size of a part in whole MiB, such that there are not too many parts.
fn part_bytes(bytes: u64) -> u64 {
    let least = bytes.div_ceil(PARTS_MAX);
    PART_BYTES.max(least.next_multiple_of(1 << 20))
}

fn read(file: &mut File, at: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_too_large_for_its_parts() {
        for bytes in [PART_BYTES + 1, 10_000 * PART_BYTES, 10_000 * PART_BYTES + 1, 5 << 40] {
            let part = part_bytes(bytes);
            assert!(part >= PART_BYTES && part.is_multiple_of(1 << 20));
            assert!(bytes.div_ceil(part) <= PARTS_MAX, "{bytes}");
        }
        assert_eq!(part_bytes(PART_BYTES + 1), PART_BYTES);
    }
}
