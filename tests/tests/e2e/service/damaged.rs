//! Damage to any file of the state costs at most the job that the file belongs to, and is said.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use supervisor::config::ServiceConfig;
use supervisor::view::{JobId, JobState};

use super::{JOB, Running, config};
use crate::harness::{Dir, Origin, wait_for};

/// Inputs of each job.
const INPUTS: usize = 8;

/// The bytes of SQLite's header that say whose database it is. With others there, the service must not touch it.
const WHOSE: [std::ops::Range<usize>; 2] = [60..64, 68..72];

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Gone,
    Flipped(usize),
    Zeroed(usize),
    Cut(usize),
}

impl Harm {
    fn apply(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Gone => return fs::remove_file(path).unwrap(),
            Self::Flipped(at) => bytes[at] ^= 0x55,
            Self::Zeroed(at) => bytes.iter_mut().skip(at).take(64).for_each(|byte| *byte = 0),
            Self::Cut(at) => bytes.truncate(at),
        }
        fs::write(path, bytes).unwrap();
    }

    /// Whether the file may now look like that of another program.
    fn hits_header(self) -> bool {
        match self {
            Self::Flipped(at) => WHOSE.iter().any(|range| range.contains(&at)),
            Self::Zeroed(at) => WHOSE.iter().any(|range| at < range.end && range.start < at + 64),
            Self::Gone | Self::Cut(_) => false,
        }
    }
}

/// A state with one job that is done, one that was stopped half-way, and one that waits.
fn stopped_half_way(origin: &Origin) -> (Dir, [JobId; 3]) {
    let dir = Dir::new();
    let one_at_a_time = |dir: &Dir| ServiceConfig { jobs_max: 1.try_into().unwrap(), ..config(dir, 1) };
    let service = Running::start(one_at_a_time(&dir));
    let job = |part: &str, more: serde_json::Value| {
        let urls: Vec<String> = (0..INPUTS).map(|n| origin.url(&format!("{part}?n={n}"))).collect();
        let mut document = json!({"command": "fetch", "mode": "both", "urls": urls});
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        service.submit(&document, &[])
    };
    let done = job("/site/page/1", json!({}));
    service.wait(done, JobState::Done);
    let half = job("/delay/0.1", json!({"per-host": "1"}));
    let waiting = job("/site/page/2", json!({}));
    wait_for("a record of the second job", JOB, || (service.job(half).counts.done > 0).then_some(()));
    service.stop();
    (dir, [done, half, waiting])
}

fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.file_name().is_some_and(|name| name != "lock") {
            into.push(path);
        }
    }
    into.sort();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Starts a service on a damaged copy of the state, and checks what becomes of its jobs.
fn check(state: &Path, file: &Path, harm: Harm, jobs: [JobId; 3]) {
    let what = format!("{} {harm:?}", file.display());
    let dir = Dir::new();
    copy(state, &dir.path("state"));
    harm.apply(&dir.path("state").join(file));
    let service = Running::start(config(&dir, 2));
    let own = |id: JobId| file.starts_with(format!("jobs/{id}"));
    for id in jobs {
        let Ok((view, _)) = service.service.job(id) else {
            assert!(own(id), "{what}: job {id} is gone");
            continue;
        };
        if own(id) {
            let ends = |state: JobState| state.has_ended() || state == JobState::Paused;
            let view = wait_for(&format!("{what}: job {id} to end"), JOB, || {
                Some(service.job(id)).filter(|view| ends(view.state))
            });
            let said = view.error.is_some() || view.state == JobState::Done;
            assert!(said, "{what}: {view:?}");
            continue;
        }
        assert!(view.error.is_none(), "{what}: {view:?}");
        let view = service.wait(id, JobState::Done);
        assert_eq!(view.counts.done, INPUTS as u64, "{what}: {view:?}");
        assert_eq!(service.records(id).len(), INPUTS, "{what}: job {id}");
    }
    let shown = service.service.board().service.read().unwrap().clone().unwrap();
    let lost = jobs.into_iter().any(|id| match service.service.job(id) {
        Ok((_, records)) => fs::metadata(&records.path).map_or(0, |found| found.len()) < records.committed(),
        Err(_) => true,
    });
    assert!(!lost || !shown.warnings.is_empty(), "{what}: nothing is said");
    service.stop();
}

#[test]
fn damage_costs_at_most_the_job_whose_file_it_is() {
    let (origin, mut rng) = (Origin::start(), fastrand::Rng::with_seed(13));
    let (dir, jobs) = stopped_half_way(&origin);
    let state = dir.path("state");
    let mut found = Vec::new();
    files(&state, &mut found);
    let scale: usize = std::env::var("MUSTER_CHAOS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut count = 0;
    for path in &found {
        let file = path.strip_prefix(&state).unwrap();
        let bytes = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
        let mut harms = vec![Harm::Gone];
        for _ in 0..scale.min(bytes) {
            let kinds = [Harm::Flipped, Harm::Zeroed, Harm::Cut].map(|kind| kind(rng.usize(0..bytes)));
            // At the usual size, each file has another one.
            let kinds = kinds.into_iter().enumerate();
            harms.extend(kinds.filter(|(n, _)| scale > 1 || count % 3 == *n).map(|(_, harm)| harm));
        }
        for harm in harms.into_iter().filter(|harm| file != Path::new("state.db") || !harm.hits_header()) {
            check(&state, file, harm, jobs);
            count += 1;
        }
    }
    println!("{count} harms to {} files", found.len());
}
