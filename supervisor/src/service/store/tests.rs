use super::*;

fn new<'a>(document: &'a Map<String, Value>, idempotency: Option<&'a Idempotency>) -> NewJob<'a> {
    NewJob {
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
        store.insert(&NewJob { uploads: &uploads, ..new(&document, Some(&key)) }, Some(&incoming)).unwrap();
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
    let input = store.input(JobId(1)).unwrap();
    assert_eq!(input.document, document);
    assert_eq!(fs::read_to_string(&input.uploads[0]).unwrap(), "http://b/\n");
}

#[test]
fn numbers_are_never_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let document = Map::new();
    for want in 1..4 {
        let job = store.insert(&new(&document, None), None).unwrap();
        assert_eq!(job.id, JobId(want));
        remove(&store.delete(job.id).unwrap()).unwrap();
    }
}

/// The service starts, and says that it cannot count its deaths.
#[test]
fn a_start_that_cannot_be_stored_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let document = Map::new();
    let mut store = Store::open(directory.path()).unwrap();
    store.insert(&new(&document, None), None).unwrap();
    assert_eq!(store.notes(), [""; 0]);
    store.connection.execute_batch("DROP TABLE started; CREATE TABLE started (other)").unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let [note] = store.notes() else { panic!("{:?}", store.notes()) };
    assert!(
        note.contains("state.db: cannot read or store when the service was started (no such column"),
        "{note}"
    );
    assert!(store.rebooted(), "deaths are not counted");
    assert_eq!(store.all().unwrap().len(), 1);
}

#[test]
fn only_deaths_without_a_new_record_between_them_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let id = store.insert(&new(&Map::new(), None), None).unwrap().id;
    let table = [(0, (1, 1)), (0, (2, 2)), (5, (0, 1)), (5, (1, 2)), (5, (2, 3)), (6, (0, 1))];
    for (done, (silent, stuck)) in table {
        let deaths = store.count_death(id, done).unwrap();
        assert_eq!(deaths, Deaths { silent, stuck, done, cleared: false });
        assert_eq!(deaths.is_fatal(), silent == 2);
    }
    // Records that never reach the disk.
    for stuck in 2..7 {
        store.clear(id).unwrap();
        let deaths = store.count_death(id, 6).unwrap();
        assert_eq!((deaths.silent, deaths.stuck, deaths.is_fatal()), (0, stuck, stuck == 6));
    }
    assert!(store.rebooted(), "nothing says that it was the same boot");
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert!(!store.rebooted());
    assert_eq!(store.count_death(id, 6).unwrap().stuck, 7, "it is on disk");
    store.delete(id).unwrap();
    assert_eq!(
        store.count_death(id, 0).unwrap().stuck,
        1,
        "a number is not used again, but its count would be"
    );
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
fn what_a_crash_left_is_swept_away_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut store = Store::open(directory.path()).unwrap();
    let ids = [0; 3].map(|_| store.insert(&new(&Map::new(), None), None).unwrap().id);
    fs::write(store.records(ids[0]), "{}\n").unwrap();
    for name in
        ["incoming/0123456789abcdef/0", "incoming/retry-1-2", "incoming/photos", "jobs/9", "jobs/notes"]
    {
        fs::create_dir_all(at(name)).unwrap();
    }
    // A kill during a removal, with and without its row.
    fs::rename(at("jobs/2"), at("trash/2")).unwrap();
    store.delete(ids[2]).unwrap();
    drop(store);
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.all().unwrap().iter().map(|row| row.id).collect::<Vec<_>>(), [JobId(1)]);
    assert_eq!(store.notes(), [""; 0]);
    assert!(
        at("jobs/1/records.jsonl").exists() && at("incoming/photos").exists() && at("jobs/notes").exists()
    );
    assert!(!at("jobs/9").exists() && !at("set-aside").exists());
    assert_eq!(entries(&at("incoming")).unwrap(), [at("incoming/photos")]);
    assert!(entries(&at("trash")).unwrap().is_empty());
    assert_eq!(store.insert(&new(&Map::new(), None), None).unwrap().id, JobId(10), "9 was somebody's");
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
    assert!(error.contains("belongs to another program"), "{error}");
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let error = Store::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("schema 99"), "{error}");
}

/// A database of each schema version. A new schema adds one; none is ever changed.
const STATES: [&str; 2] = [include_str!("state-1.sql"), include_str!("state-2.sql")];

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
        assert_eq!(store.input(JobId(2)).unwrap().document["urls"][0], "http://example.com/");
        let next = store.insert(&new(&Map::new(), None), None).unwrap();
        assert_eq!(next.id, JobId(3), "numbers go on where they were");
    }
}

/// A state after a kill: two ended jobs and a queued one, all with records. Returns their rows too.
fn killed(with_manifests: bool) -> (tempfile::TempDir, Vec<JobRow>) {
    let (directory, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = Store::open(directory.path()).unwrap();
    let mut jobs = Vec::new();
    for number in 0_u32..3 {
        let key = Idempotency { key: format!("k{number}"), digest: [7; 32] };
        let document = serde_json::json!({"command": "fetch", "urls": [format!("http://{number}/")]});
        let mut job = store.insert(&new(document.as_object().unwrap(), Some(&key)), None).unwrap();
        fs::write(store.records(job.id), records(job.id)).unwrap();
        if number < 2 {
            job.state = JobState::Done;
            (job.exit_code, job.finished_at) = (Some(0), Some("2026-11-29T00:00:00Z".to_owned()));
        }
        store.update(&job).unwrap();
        jobs.push(job);
    }
    for job in &jobs {
        let (from, to) = (store.job_directory(job.id), copy.path().join("jobs").join(job.id.to_string()));
        fs::create_dir_all(&to).unwrap();
        for file in entries(&from).unwrap() {
            let name = file.file_name().unwrap().to_str().unwrap();
            if with_manifests || !name.ends_with(".json") {
                fs::copy(&file, to.join(name)).unwrap();
            }
        }
    }
    for name in ["state.db", "state.db-wal"] {
        fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    (copy, jobs)
}

fn copy(from: &Path, to: &Path) {
    for path in entries(from).unwrap() {
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

fn records(id: JobId) -> String {
    format!("{{\"id\":0,\"of\":{id}}}\n")
}

/// Checks that the records of every job are somewhere below the state directory.
#[track_caller]
fn check_records(directory: &Path, jobs: &[JobRow], what: &str) {
    fn texts(directory: &Path, into: &mut Vec<String>) {
        for path in entries(directory).unwrap() {
            if path.is_dir() {
                texts(&path, into);
            } else if path.file_name().unwrap() == RECORDS {
                into.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut found = Vec::new();
    texts(directory, &mut found);
    for job in jobs {
        assert!(found.contains(&records(job.id)), "{what}: the records of job {} are gone", job.id);
    }
}

#[test]
fn jobs_are_taken_over_from_their_directories() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("missing", |at| {
            ["state.db", "state.db-wal"].iter().for_each(|name| fs::remove_file(at.join(name)).unwrap())
        }),
        ("emptied", |at| fs::write(at.join("state.db"), "").unwrap()),
        ("emptied, without its -wal", |at| {
            fs::write(at.join("state.db"), "").unwrap();
            fs::remove_file(at.join("state.db-wal")).unwrap();
        }),
        ("no database", |at| {
            fs::write(at.join("state.db"), vec![b'x'; 9000]).unwrap();
            fs::remove_file(at.join("state.db-wal")).unwrap();
        }),
        ("without its -wal", |at| fs::remove_file(at.join("state.db-wal")).unwrap()),
        ("its -wal emptied", |at| fs::write(at.join("state.db-wal"), "").unwrap()),
    ];
    for (what, harm) in harms {
        let (directory, jobs) = killed(true);
        harm(directory.path());
        let mut store = Store::open(directory.path()).unwrap();
        assert_eq!(store.all().unwrap(), jobs, "{what}");
        assert!(
            store.notes().iter().any(|note| note.contains("jobs 1, 2, 3")),
            "{what}: {:?}",
            store.notes()
        );
        assert_eq!(store.by_key("k1").unwrap(), Some((JobId(2), [7; 32])), "{what}");
        assert_eq!(store.input(JobId(3)).unwrap().document["urls"][0], "http://2/", "{what}");
        check_records(directory.path(), &jobs, what);
        assert_eq!(store.insert(&new(&Map::new(), None), None).unwrap().id, JobId(4), "{what}");
        drop(store);
        assert_eq!(Store::open(directory.path()).unwrap().notes(), [""; 0], "{what}: said once");
    }
}

#[test]
fn what_nothing_says_anything_about_is_set_aside_and_named() {
    let (directory, jobs) = killed(false);
    fs::remove_file(directory.path().join("state.db")).unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.all().unwrap(), []);
    let note = store.notes().join("\n");
    let aside = entries(&directory.path().join("set-aside")).unwrap();
    assert!(note.contains("jobs 1, 2, 3") && note.contains(aside[0].to_str().unwrap()), "{note}");
    check_records(directory.path(), &jobs, "set aside");
    // A state of an earlier version writes the files into the job directories.
    let (directory, jobs) = killed(false);
    drop(Store::open(directory.path()).unwrap());
    fs::remove_file(directory.path().join("state.db")).unwrap();
    assert_eq!(Store::open(directory.path()).unwrap().all().unwrap(), jobs);
}

/// Old rows say how a job ended, while `state.json` may not have reached the disk.
#[test]
fn a_job_that_has_ended_does_not_begin_again() {
    let (directory, jobs) = killed(true);
    for job in &jobs {
        fs::write(directory.path().join(format!("jobs/{}/state.json", job.id)), "").unwrap();
    }
    let path = directory.path().join("state.db");
    let database = Connection::open(&path).unwrap();
    database.execute_batch("CREATE INDEX other ON jobs (sender); PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    drop(database);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    assert_eq!(Store::open(directory.path()).unwrap().all().unwrap(), jobs);
}

#[test]
fn what_a_row_says_of_a_submission_counts_less_than_its_directory() {
    let (directory, jobs) = killed(true);
    let database = Connection::open(directory.path().join("state.db")).unwrap();
    let changed = database.execute("UPDATE jobs SET document = '{\"urls\":[\"http://x/\"]}'", []).unwrap();
    assert_eq!(changed, 3);
    drop(database);
    let store = Store::open(directory.path()).unwrap();
    let note = store.notes().join("\n");
    assert!(note.contains("differ about what was submitted, and the directories count: 3"), "{note}");
    for (number, job) in jobs.iter().enumerate() {
        assert_eq!(store.input(job.id).unwrap().document["urls"][0], format!("http://{number}/"));
    }
}

#[test]
fn what_is_gone_is_said_and_numbers_are_those_of_jobs() {
    let (directory, jobs) = killed(true);
    let at = |name: &str| directory.path().join("jobs").join(name);
    fs::remove_dir_all(at("2")).unwrap();
    for name in ["007", "+8", "18446744073709551615", "9223372036854775807"] {
        fs::create_dir(at(name)).unwrap();
    }
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.all().unwrap(), jobs);
    let place = directory.path().join("jobs");
    let note = format!("the directories of these jobs are missing in {}: 2", place.display());
    assert_eq!(store.notes(), [note]);
    assert!(!directory.path().join("set-aside").exists() && at("007").exists());
    let next = store.insert(&new(&Map::new(), None), None).unwrap().id;
    assert_eq!(next, JobId(4));
    remove(&store.delete(next).unwrap()).unwrap();
}

#[test]
fn a_row_that_cannot_be_read_costs_that_job_only() {
    for (column, value) in
        [("state", "'dome'"), ("counts", "'{'"), ("document", "x'00'"), ("digest", "'short'")]
    {
        for with_manifests in [true, false] {
            let (directory, jobs) = killed(with_manifests);
            let database = Connection::open(directory.path().join("state.db")).unwrap();
            database.execute(&format!("UPDATE jobs SET {column} = {value} WHERE id = 2"), []).unwrap();
            drop(database);
            let store = Store::open(directory.path()).unwrap();
            let row = store.all().unwrap();
            let want: Vec<_> =
                jobs.iter().filter(|job| with_manifests || job.id != JobId(2)).cloned().collect();
            assert_eq!(row, want, "{column} {with_manifests}");
            assert!(store.notes().join("\n").contains("the row of job 2"), "{:?}", store.notes());
            check_records(directory.path(), &jobs, column);
        }
    }
}

/// Any flipped bit or truncation loses no records, and no job that its directory describes. `scripts/chaos` tries both at
/// each offset.
#[test]
fn damage_anywhere_loses_no_records() {
    let (whole, jobs) = killed(true);
    let is_full_size = std::env::var_os("MUSTER_CHAOS").is_some();
    let mut rng = fastrand::Rng::with_seed(10);
    for name in ["state.db", "state.db-wal"] {
        let bytes = fs::read(whole.path().join(name)).unwrap();
        let mut some = || {
            let heads = (0..10).map(|_| rng.usize(0..bytes.len().min(120))).collect::<Vec<_>>();
            heads.into_iter().chain((0..10).map(|_| rng.usize(0..bytes.len()))).collect()
        };
        let offsets: Vec<usize> = if is_full_size { (0..bytes.len()).collect() } else { some() };
        println!("{} offsets of {name}", offsets.len());
        for at in offsets {
            check_damaged(whole.path(), name, &bytes[..at], &jobs, &format!("{name}, cut at byte {at}"));
            let (mut harmed, bit) = (bytes.clone(), rng.u8(0..8));
            harmed[at] ^= 1 << bit;
            check_damaged(
                whole.path(),
                name,
                &harmed,
                &jobs,
                &format!("{name}, byte {at}, bit {bit} flipped"),
            );
        }
    }
}

fn check_damaged(whole: &Path, name: &str, harmed: &[u8], jobs: &[JobRow], what: &str) {
    let directory = tempfile::tempdir().unwrap();
    copy(whole, directory.path());
    fs::write(directory.path().join(name), harmed).unwrap();
    match Store::open(directory.path()) {
        Ok(store) => {
            let ids: Vec<_> = store.all().unwrap().iter().map(|job| job.id).collect();
            assert_eq!(ids, [1, 2, 3].map(JobId), "{what}: {:?}", store.notes());
        }
        // The damage is in the header and looks like another program's file.
        Err(StoreError::Foreign { .. } | StoreError::Newer { .. }) => {}
        Err(error) => panic!("{what}: {error}"),
    }
    check_records(directory.path(), jobs, what);
}

/// The readable part of a damaged database replaces the files that directories of an earlier version lack.
#[test]
fn a_damaged_database_is_read_as_far_as_it_goes() {
    let (directory, jobs) = killed(false);
    let path = directory.path().join("state.db");
    // Move everything into the one file, then damage the last page, which does not hold these rows.
    let database = Connection::open(&path).unwrap();
    database.execute_batch("CREATE INDEX other ON jobs (sender); PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    drop(database);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(store.notes().join("\n").contains("is damaged"), "{:?}", store.notes());
    assert_eq!(store.all().unwrap(), jobs);
    check_records(directory.path(), &jobs, "a spoiled page");
}
