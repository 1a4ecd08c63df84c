use super::*;

fn new<'a>(document: &'a Map<String, Value>, idempotency: Option<&'a Idempotency>) -> New<'a> {
    New {
        name: Some("nightly"),
        command: "fetch",
        priority: 7,
        document,
        uploads: &[],
        submitted_at: "2026-11-28T18:30:43Z",
        retry_of: None,
        idempotency,
        sender: "a test",
    }
}

#[test]
fn what_was_kept_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let document = serde_json::from_str(r#"{"command":"fetch","urls":["http://a/"]}"#).unwrap();
    let key = Idempotency { key: "k".to_owned(), digest: [9; 32] };
    let mut store = Store::open(&state).unwrap();
    let incoming = state.join("incoming/x");
    fs::create_dir_all(incoming.join("0")).unwrap();
    fs::write(incoming.join("0/urls.txt"), "http://b/\n").unwrap();
    let uploads = [PathBuf::from("0/urls.txt")];
    let mut job =
        store.insert(&New { uploads: &uploads, ..new(&document, Some(&key)) }, Some(&incoming)).unwrap();
    assert_eq!((job.id, job.state, job.priority), (JobId(1), JobState::Queued, 7));
    job.state = JobState::Done;
    job.errors.insert(ErrorKind::Dns, 3);
    job.counts.done = 12;
    job.exit_code = Some(3);
    store.update(&job).unwrap();
    drop(store);

    let store = Store::open(&state).unwrap();
    assert_eq!(store.all().unwrap(), [job]);
    assert_eq!(store.by_key("k").unwrap(), Some((JobId(1), [9; 32])));
    assert_eq!(store.by_key("other").unwrap(), None);
    let errand = store.errand(JobId(1)).unwrap();
    assert_eq!(errand.document, document);
    assert_eq!(fs::read_to_string(&errand.uploads[0]).unwrap(), "http://b/\n");
}

#[test]
fn numbers_are_never_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let document = Map::new();
    for want in 1..4 {
        let job = store.insert(&new(&document, None), None).unwrap();
        assert_eq!(job.id, JobId(want));
        store.delete(job.id).unwrap();
        remove(&store.job_directory(job.id)).unwrap();
    }
}

#[test]
fn a_second_service_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = Store::open(directory.path()).unwrap();
    let refused = Store::open(directory.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    drop(first);
    Store::open(directory.path()).unwrap();
}

#[test]
fn what_a_crash_left_is_swept_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let job = store.insert(&new(&Map::new(), None), None).unwrap();
    fs::create_dir_all(directory.path().join("incoming/half/0")).unwrap();
    // Its row was never certain, or is gone.
    fs::create_dir_all(directory.path().join("jobs/2/0")).unwrap();
    store.sweep().unwrap();
    assert!(store.job_directory(job.id).is_dir());
    assert!(!directory.path().join("jobs/2").exists());
    assert_eq!(entries(&directory.path().join("incoming")).unwrap().len(), 0);
    // The number that was lost is free again.
    assert_eq!(store.insert(&new(&Map::new(), None), None).unwrap().id, JobId(2));
}

#[test]
fn a_job_that_cannot_be_placed_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let missing = directory.path().join("incoming/gone");
    assert!(store.insert(&new(&Map::new(), None), Some(&missing)).is_err());
    assert_eq!(store.all().unwrap(), []);
    assert_eq!(store.insert(&new(&Map::new(), None), None).unwrap().id, JobId(1));
}

#[test]
fn another_programs_database_and_a_newer_one_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let foreign = Connection::open(&path).unwrap();
    foreign.pragma_update(None, "application_id", 77).unwrap();
    drop(foreign);
    let error = Store::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("another program's"), "{error}");
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let error = Store::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("schema 99"), "{error}");
}

/// Kept from each schema there ever was: whoever changes the schema adds one and touches none.
const STATES: [&str; 1] = [include_str!("state-1.sql")];

#[test]
fn states_of_earlier_versions_are_opened() {
    for (index, state) in STATES.iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let database = Connection::open(directory.path().join("state.db")).unwrap();
        database.execute_batch(state).unwrap();
        drop(database);
        let mut store = Store::open(directory.path()).unwrap();
        let jobs = store.all().unwrap();
        let [parsed, fetched] = jobs.as_slice() else { panic!("state {}: {jobs:?}", index + 1) };
        assert_eq!((parsed.id, parsed.state, parsed.exit_code), (JobId(1), JobState::Done, Some(0)));
        assert_eq!(parsed.name.as_deref(), Some("nightly"));
        assert_eq!((parsed.counts.ok, parsed.committed), (1, 159));
        assert!(parsed.summary.is_some());
        assert_eq!((fetched.priority, fetched.errors.get(&ErrorKind::Dns)), (7, Some(&1)));
        assert_eq!(store.by_key("monday").unwrap().map(|(id, _)| id), Some(JobId(2)));
        assert_eq!(store.errand(JobId(2)).unwrap().document["urls"][0], "http://example.com/");
        let next = store.insert(&new(&Map::new(), None), None).unwrap();
        assert_eq!(next.id, JobId(3), "numbers go on where they were");
    }
}
