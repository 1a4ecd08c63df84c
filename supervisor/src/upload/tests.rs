//! Uploads into a store in memory that fails on demand.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::begin::begin_over;
use super::fault::fault;
use super::remote::{PART_BYTES, Remote};
use super::*;
use crate::objects::{Access, Object, ObjectError, ObjectUrl};
use crate::sink::whole::{MANIFEST, Totals};
use crate::sink::{Deliver as _, SinkError};

const TOTALS: Totals = Totals { ok: 7, failed: 2 };

/// A store in memory.
#[derive(Debug, Default)]
struct Memory {
    inner: InMemory,
    /// Number of parts accepted before every further one fails.
    parts_left: Mutex<Option<usize>>,
    /// Whether it lacks conditional writes.
    is_old: AtomicBool,
    puts: AtomicUsize,
    aborted: Mutex<Vec<String>>,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

fn broken() -> object_store::Error {
    let answer = "<Error><Code>InternalError</Code><Message>We\u{7} fell over</Message><StringToSign>hush</StringToSign>";
    object_store::Error::Generic { store: "S3", source: answer.into() }
}

type Listed<T> = std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<T>> + Send>>;

#[async_trait]
impl ObjectStore for Memory {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if self.is_old.load(Ordering::Relaxed) && options.mode == PutMode::Create {
            return Err(object_store::Error::NotImplemented {
                operation: "put".to_owned(),
                implementer: "memory".to_owned(),
            });
        }
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: Listed<Key>) -> Listed<Key> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> Listed<ObjectMeta> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Memory {
    async fn create_multipart(&self, key: &Key) -> Result<MultipartId> {
        self.inner.create_multipart(key).await
    }

    async fn create_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<MultipartId> {
        self.inner.create_multipart_opts(key, options).await
    }

    async fn put_part(&self, key: &Key, id: &MultipartId, n: usize, data: PutPayload) -> Result<PartId> {
        if let Some(left) = self.parts_left.lock().unwrap().as_mut() {
            *left = left.checked_sub(1).ok_or_else(broken)?;
        }
        self.inner.put_part(key, id, n, data).await
    }

    async fn complete_multipart(&self, key: &Key, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.inner.complete_multipart(key, id, parts).await
    }

    async fn abort_multipart(&self, key: &Key, id: &MultipartId) -> Result<()> {
        self.aborted.lock().unwrap().push(id.clone());
        self.inner.abort_multipart(key, id).await
    }
}

/// A store, and a machine that uploads to it.
struct Bench {
    home: tempfile::TempDir,
    memory: Arc<Memory>,
    object: Object,
    split: bool,
}

impl Bench {
    fn new(url: &str, split: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let url = ObjectUrl::of(Path::new(url)).unwrap();
        let object = Object { url, access: Access::default(), directory: home.path().join("outputs/0") };
        Self { home, memory: Arc::default(), object, split }
    }

    fn output(&self) -> PathBuf {
        self.object.directory.join("records.jsonl")
    }

    fn begin(&self, overwrite: bool, resume: bool) -> std::result::Result<UploadStart, ObjectError> {
        let remote = Remote::over(&self.object, Arc::clone(&self.memory) as _).unwrap();
        begin_over(
            &self.object,
            &self.output(),
            UploadOptions { overwrite, resume, split: self.split, table: false },
            remote,
        )
    }

    /// One run: begins, makes its output with `make`, and uploads it.
    fn run(
        &self,
        overwrite: bool,
        resume: bool,
        make: impl FnOnce(&Path),
    ) -> std::result::Result<(), String> {
        match self.begin(overwrite, resume).map_err(|error| error.to_string())? {
            UploadStart::Ready(_working, upload) => {
                make(&self.output());
                upload.deliver(TOTALS).map_err(|error| error.to_string())
            }
            UploadStart::Complete(complete) => Err(format!("there: {complete:?}")),
        }
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.wait(async { self.memory.inner.get(&Key::parse(key).unwrap()).await.ok()?.bytes().await.ok() })
            .map(Into::into)
    }

    fn put(&self, key: &str, bytes: &'static str) {
        self.wait(self.memory.inner.put(&Key::parse(key).unwrap(), bytes.into())).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let listed =
            self.wait(self.memory.inner.list_with_delimiter(Some(&Key::parse("dir").unwrap()))).unwrap();
        listed.objects.iter().map(|meta| meta.location.filename().unwrap().to_owned()).collect()
    }

    fn is_clean(&self) -> bool {
        !self.object.directory.exists()
    }
}

fn text(text: &str) -> impl FnOnce(&Path) {
    move |path| fs::write(path, text).unwrap()
}

fn parts(contents: &[&str]) -> impl FnOnce(&Path) {
    move |path| {
        _ = fs::remove_dir_all(path);
        fs::create_dir(path).unwrap();
        for (n, content) in contents.iter().enumerate() {
            fs::write(path.join(format!("part-{n:05}.jsonl")), content).unwrap();
        }
        fs::write(path.join(MANIFEST), format!("{contents:?}")).unwrap();
        fs::write(path.join("notes.txt"), "").unwrap();
    }
}

#[test]
fn a_file_is_uploaded_whole_and_leaves_nothing_behind() {
    let large = "0123456789abcde\n".repeat(usize::try_from(PART_BYTES / 16).unwrap() * 2 + 1);
    for content in ["", "{\"id\":0}\n", &large] {
        let bench = Bench::new("s3://bucket/a/b.jsonl", false);
        bench.run(false, false, text(content)).unwrap();
        assert!(bench.get("a/b.jsonl").unwrap() == content.as_bytes());
        assert!(bench.is_clean());
        // From any machine, it looks complete.
        let Ok(UploadStart::Complete(complete)) = bench.begin(false, true) else {
            panic!("it does not exist")
        };
        assert_eq!((complete.records, complete.failed), (9, 2));
    }
}

#[test]
fn a_failed_upload_is_aborted_and_repeated_by_the_next_run() {
    let bench = Bench::new("s3://bucket/b.jsonl", false);
    let content = "x".repeat(usize::try_from(PART_BYTES * 3).unwrap());
    *bench.memory.parts_left.lock().unwrap() = Some(1);
    let why = bench.run(false, false, text(&content)).unwrap_err();
    assert_eq!(why, "cannot upload s3://bucket/b.jsonl: the store reports InternalError: We fell over");
    assert_eq!(bench.get("b.jsonl"), None);
    // One for the probe, one for the upload.
    assert_eq!(bench.memory.aborted.lock().unwrap().len(), 2);
    assert_eq!(fs::read_to_string(bench.output()).unwrap(), content);
    let why = bench.run(false, false, |_| ()).unwrap_err();
    assert!(why.contains("--resume does the rest"), "{why}");
    *bench.memory.parts_left.lock().unwrap() = None;
    bench.run(false, true, |_| ()).unwrap();
    assert!(bench.get("b.jsonl").unwrap() == content.as_bytes() && bench.is_clean());
}

#[test]
fn a_killed_runs_unfinished_uploads_are_aborted() {
    let bench = Bench::new("s3://bucket/b.jsonl", false);
    let Ok(UploadStart::Ready(working, upload)) = bench.begin(false, false) else { panic!("not ready") };
    let id = bench.wait(bench.memory.inner.create_multipart(&Key::parse("b.jsonl").unwrap())).unwrap();
    fs::write(bench.output(), "x\n").unwrap();
    let mut note_file = working.note_file().unwrap();
    note_file.begun("b.jsonl", &id).unwrap();
    drop((working, upload));
    bench.run(false, true, |_| ()).unwrap();
    assert!(bench.memory.aborted.lock().unwrap().contains(&id) && bench.is_clean());
}

#[test]
fn an_existing_object_is_kept_unless_it_may_be_replaced() {
    let bench = Bench::new("s3://bucket/b.jsonl", false);
    bench.put("b.jsonl", "theirs");
    let why = bench.run(false, false, text("ours\n")).unwrap_err();
    assert!(why.starts_with("s3://bucket/b.jsonl exists"), "{why}");
    let why = bench.run(false, true, text("ours\n")).unwrap_err();
    assert!(why.contains("was not written by this program"), "{why}");
    assert!(bench.get("b.jsonl").unwrap() == b"theirs" && bench.is_clean());
    bench.run(true, false, text("ours\n")).unwrap();
    assert!(bench.get("b.jsonl").unwrap() == b"ours\n" && bench.is_clean());
}

#[test]
fn an_object_created_meanwhile_is_kept() {
    let bench = Bench::new("s3://bucket/b.jsonl", false);
    let why = bench
        .run(false, false, |path| {
            fs::write(path, "ours\n").unwrap();
            bench.put("b.jsonl", "theirs");
        })
        .unwrap_err();
    assert!(why.contains("was created since the run began"), "{why}");
    assert_eq!(bench.get("b.jsonl").unwrap(), b"theirs");
    assert_eq!(fs::read(bench.output()).unwrap(), b"ours\n");
    // What an overwriting run may replace, the run that continues it may replace too.
    let Ok(UploadStart::Ready(working, upload)) = bench.begin(true, false) else { panic!("not ready") };
    drop((working, upload));
    bench.run(false, true, |_| ()).unwrap();
    assert_eq!(bench.get("b.jsonl").unwrap(), b"ours\n");
}

#[test]
fn a_run_killed_after_its_upload_finds_its_object() {
    let bench = Bench::new("s3://bucket/b.jsonl", false);
    let Ok(UploadStart::Ready(working, upload)) = bench.begin(false, false) else { panic!("not ready") };
    fs::write(bench.output(), "ours\n").unwrap();
    upload.deliver(TOTALS).unwrap();
    let mut note_file = working.note_file().unwrap();
    assert!(note_file.note.uploaded);
    note_file.note.uploaded = false;
    note_file.save().unwrap();
    drop(working);
    assert_eq!(bench.memory.puts.load(Ordering::Relaxed), 1);
    bench.run(false, true, |_| ()).unwrap();
    assert_eq!(bench.memory.puts.load(Ordering::Relaxed), 1);
    assert!(bench.is_clean());
}

#[test]
fn a_store_without_conditional_writes_works() {
    let bench = Bench::new("s3://bucket/b.jsonl", false);
    bench.memory.is_old.store(true, Ordering::Relaxed);
    bench.run(false, false, text("ours\n")).unwrap();
    assert_eq!(bench.get("b.jsonl").unwrap(), b"ours\n");
}

#[test]
fn a_directory_is_objects_under_a_prefix() {
    let bench = Bench::new("s3://bucket/dir/", true);
    for name in ["dir/notes.txt", "dir/part-00007.csv", "elsewhere"] {
        bench.put(name, "theirs");
    }
    assert!(bench.run(false, false, parts(&["a", "b"])).unwrap_err().contains("exists"));
    bench.run(true, false, parts(&["a", "b", "c"])).unwrap();
    assert_eq!(
        bench.names(),
        [MANIFEST, "notes.txt", "part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]
    );
    bench.run(true, false, parts(&["d"])).unwrap();
    assert_eq!(bench.names(), [MANIFEST, "notes.txt", "part-00000.jsonl"]);
    assert_eq!(bench.get("dir/part-00000.jsonl").unwrap(), b"d");
    let Ok(UploadStart::Complete(complete)) = bench.begin(false, true) else { panic!("it does not exist") };
    assert_eq!((complete.records, complete.failed), (9, 2));
    assert!(bench.is_clean() && bench.get("elsewhere").is_some());
}

#[test]
fn a_resumed_run_may_split_a_directory_differently() {
    let bench = Bench::new("s3://bucket/dir", true);
    let why = bench.run(false, false, |path| {
        parts(&["a", "b", "c"])(path);
        // The upload breaks off before the manifest.
        fs::remove_file(path.join(MANIFEST)).unwrap();
    });
    assert!(why.is_err());
    assert_eq!(bench.names(), ["part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]);
    bench.run(false, true, parts(&["ab", "c"])).unwrap();
    assert_eq!(bench.names(), [MANIFEST, "part-00000.jsonl", "part-00001.jsonl"]);
    assert!(bench.is_clean());
}

#[test]
fn one_supervisor_at_a_time() {
    let bench = Bench::new("s3://bucket/b.jsonl", false);
    let first = bench.begin(false, false).unwrap();
    let why = bench.begin(true, false).unwrap_err();
    assert!(matches!(why, ObjectError::Locked { .. }), "{why}");
    drop(first);
    assert!(bench.is_clean() && bench.begin(false, false).is_ok());
    assert!(bench.home.path().join("outputs").is_dir());
}

#[test]
fn errors_give_advice_and_hide_signed_data() {
    let bench = Bench::new("s3://bucket/b.jsonl", false);
    for (answer, says) in [
        ("<Code>NoSuchBucket</Code>", "there is no bucket bucket at Amazon's S3; create it first"),
        (
            "<Code>SignatureDoesNotMatch</Code><Message>No.</Message><StringToSign>hush</StringToSign>",
            "AWS_SECRET_ACCESS_KEY",
        ),
        ("<Code>InvalidAccessKeyId</Code><AWSAccessKeyId>hush</AWSAccessKeyId>", "AWS_ACCESS_KEY_ID"),
        ("<Code>AuthorizationHeaderMalformed</Code><Message>m</Message>", "set AWS_REGION"),
        (
            "Server returned non-2xx status code: 503 Service Unavailable: hush",
            "the store reports 503 Service Unavailable",
        ),
    ] {
        let error = object_store::Error::Generic { store: "S3", source: answer.into() };
        let why = fault(&bench.object, "write", &error).to_string();
        assert!(why.starts_with("cannot write s3://bucket/b.jsonl: "), "{why}");
        assert!(why.contains(says) && !why.contains("hush"), "{why}");
    }
    let denied = object_store::Error::PermissionDenied {
        path: "b.jsonl".to_owned(),
        source: "<Code>AccessDenied</Code><Message>Access Denied</Message>".into(),
    };
    let why = SinkError::from(fault(&bench.object, "write", &denied)).to_string();
    assert!(why.contains("denies access (AccessDenied: Access Denied); this requires s3:PutObject"), "{why}");
}
