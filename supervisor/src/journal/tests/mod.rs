//! The journal on real files: killed at any point, damaged, locked, and on a full disk.

mod refusals;

use std::fs::{self, File};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use shared::address::AddressPolicy;
use shared::job::{FetchSpec, SandboxLevel, Work};
use shared::proxy::ProxySpec;
use shared::record::ErrorKind;
use shared::request_headers::HeaderScope;
use shared::select::Field;
use shared::select::blocked::BlockedRules;
use shared::transport::TransportSpec;
use supervisor_core::frontier::{PerHost, Politeness};

use super::opening::Opened;
use super::state::Recorded;
use super::store::Commit;
use super::*;
use crate::plan::{HostKey, Input, ListReading, Output, Plan, PoolPlan, When};
use crate::sink::SinkError;
use crate::source::{Source, TargetKind};

/// A job that fetches `inputs`.
pub(super) fn plan(inputs: &[Input]) -> Plan {
    Plan {
        format: crate::format::Format::default(),
        object: None,
        split: None,
        manifest: None,
        work: Work::Fetch(FetchSpec {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            body_bytes_max: 16 << 20,
            redirects_max: 10,
            headers: Vec::new(),
            header_scope: HeaderScope::default(),
            user_agent: "test".to_owned(),
            address_policy: AddressPolicy::Any,
            blocked: BlockedRules::default(),
            save: None,
            request: None,
            transport: TransportSpec::default(),
            response_headers: Vec::new(),
            cookies: false,
            proxies: ProxySpec::default(),
            since: None,
            login: None,
            profiles: Vec::new(),
            next: None,
        }),
        then: None,
        fields: Field::parse_all(&["title=title::text"]).unwrap(),
        each: None,
        presets: Vec::new(),
        parse_timeout: Duration::from_secs(5),
        inputs: inputs.to_vec(),
        lists: ListReading::default(),
        within: None,
        held: Vec::new(),
        output: Output::Discard,
        pool: PoolPlan {
            workers: None,
            mode: None,
            concurrency: None,
            worker_memory_bytes: None,
            recycle_after: None,
        },
        politeness: Politeness {
            per_host: PerHost::Auto,
            rate_per_s: None,
            delay: None,
            obeys_robots: false,
            retries: 2,
        },
        host_key: HostKey::Host,
        sandbox: SandboxLevel::Off,
        ordered: false,
        strict: false,
        progress: When::Never,
        quiet: false,
        summary: None,
        report: None,
        traps: None,
        cookie_jar: None,
    }
}

/// A directory with a list of inputs, an output and its journal.
struct TestDir(tempfile::TempDir);

impl TestDir {
    fn new(targets: u64) -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        fs::write(dir.at("urls"), (0..targets).map(|n| format!("http://a/{n}\n")).collect::<String>())
            .unwrap();
        dir
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn plan(&self, overwrite: bool, resume: bool) -> Plan {
        let output = Output::File { path: self.at("out"), overwrite, resume };
        Plan { output, ..plan(&[Input::Lines(self.at("urls"))]) }
    }

    fn open(&self, overwrite: bool, resume: bool) -> Result<Opened, OutputError> {
        open(&self.plan(overwrite, resume))
    }

    /// A run with `--resume` that has not written to the output yet.
    fn run(&self) -> Run {
        Run::new(self, self.open(false, true).unwrap()).unwrap()
    }

    /// The error of opening.
    fn refusal(&self, overwrite: bool, resume: bool) -> String {
        let refusal = self.open(overwrite, resume).unwrap_err().to_string();
        refusal.replace(&format!("{}/", self.0.path().display()), "")
    }

    /// A copy of the files, with the output and the write-ahead file truncated to these lengths.
    fn crash(&self, output_bytes: u64, wal_bytes: u64) -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        for name in ["urls", "out", "out.journal", "out.journal-wal"] {
            if self.at(name).exists() {
                fs::copy(self.at(name), dir.at(name)).unwrap();
            }
        }
        for (name, bytes) in [("out", output_bytes), ("out.journal-wal", wal_bytes)] {
            let Ok(file) = File::options().write(true).open(dir.at(name)) else { continue };
            file.set_len(bytes.min(file.metadata().unwrap().len())).unwrap();
        }
        dir
    }

    fn ids(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.at("out")).unwrap();
        text.lines().map(|line| line.split(':').next().unwrap().parse().unwrap()).collect()
    }
}

/// A run, one call at a time: what the threads of a real run do, in the same order.
struct Run {
    outlet: crate::sink::Outlet,
    store: Store,
    state: State,
    /// Unfinished targets.
    todo: Vec<u64>,
    fresh: Finished,
}

impl Run {
    /// `None` if nothing is left to do.
    fn new(dir: &TestDir, opened: Opened) -> Option<Self> {
        let Opened::Ready(destination) = opened else { return None };
        let Journal { mut store, state, .. } = destination.journal.unwrap();
        store.keep();
        // In a real run, the kernel writes it within seconds.
        store.settle().unwrap();
        let mut source = Source::new(&[Input::Lines(dir.at("urls"))], TargetKind::Url);
        let mut gate = Gate::new(TargetKind::Url, state.finished.clone(), state.prefix);
        let (mut todo, mut more) = (Vec::new(), true);
        while more {
            let mut items = Vec::new();
            more = source.next_batch(&mut items, gate.batch_max(7)).unwrap();
            todo.extend(gate.pass(items, more).unwrap().iter().map(|item| item.id));
        }
        let state = State { prefix: gate.prefix(), ..state };
        Some(Self { outlet: destination.outlet, store, state, todo, fresh: Finished::default() })
    }

    /// Passes the record of the target at `pick` to the sink.
    fn finish(&mut self, pick: usize) {
        let id = self.todo.swap_remove(pick % self.todo.len());
        self.outlet.write(format!("{id}:{}\n", "x".repeat(pick % 50)).as_bytes()).unwrap();
        self.fresh.insert(id);
        self.state.tally.add(if id.is_multiple_of(3) { Final::Failed(ErrorKind::Dns) } else { Final::Ok });
    }

    fn commit(&mut self) {
        self.outlet.settle().unwrap();
        let commit = Commit {
            fresh: std::mem::take(&mut self.fresh),
            tally: self.state.tally.clone(),
            prefix: self.state.prefix,
            output_bytes: self.outlet.committed_len(),
            hosts: Some("{}".to_owned()),
            held: Vec::new(),
            uncertain: None,
            found_bytes: None,
            lists: ListChanges::new(),
        };
        self.store.commit(&commit).unwrap();
        self.state.output_bytes = commit.output_bytes;
        self.state.hosts = commit.hosts.unwrap_or_default();
    }

    fn end(mut self) {
        self.outlet.finish().unwrap();
        self.store.complete().unwrap();
        self.store.remove();
    }
}

/// Opens only the journal.
fn reopen(path: &Path) -> Result<Option<Recorded>, JournalError> {
    Store::open(path).map(|(_, recorded)| recorded)
}

/// What a run does before it is killed, and how much of it reaches the disk.
#[derive(Debug, Clone)]
struct Crash {
    picks: Vec<usize>,
    commit_every: usize,
    flush: bool,
    output_part: f64,
    wal_part: f64,
}

fn crash() -> impl Strategy<Value = Crash> {
    (
        prop::collection::vec(0..1000_usize, 0..60),
        1..20_usize,
        any::<bool>(),
        0.0..1.0,
        prop_oneof![Just(1.0), 0.0..1.0],
    )
        .prop_map(|(picks, commit_every, flush, output_part, wal_part)| Crash {
            picks,
            commit_every,
            flush,
            output_part,
            wal_part,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_often_it_is_killed_every_target_has_one_record(
        targets in 0..120_u64, crashes in prop::collection::vec(crash(), 0..6),
    ) {
        let mut dir = TestDir::new(targets);
        for Crash { picks, commit_every, flush, output_part, wal_part } in crashes {
            let mut run = dir.run();
            for (n, pick) in picks.iter().enumerate().take(run.todo.len()) {
                run.finish(*pick);
                if (n + 1) % commit_every == 0 {
                    run.commit();
                }
            }
            if flush {
                run.outlet.settle().unwrap();
            }
                        // The committed part is on disk. Of the rest, any part may be. The last bytes of the
                        // write-ahead file belong to a commit that was in progress, or never reached the
                        // disk.
            let (certain, written) = (run.state.output_bytes, run.outlet.committed_len());
            let wal = fs::metadata(dir.at("out.journal-wal")).map_or(0, |metadata| metadata.len());
            let part = |all: u64, part: f64| (all as f64 * part) as u64;
            let crashed = dir.crash(certain + part(written - certain, output_part), part(wal, wal_part));
            drop(run);
            dir = crashed;
        }
        let mut run = dir.run();
        while !run.todo.is_empty() {
            run.finish(17);
        }
        let counts = run.state.tally.counts;
        run.end();
        let mut ids = dir.ids();
        ids.sort_unstable();
        prop_assert_eq!(ids, (0..targets).collect::<Vec<_>>());
        prop_assert_eq!((counts.items(), counts.failed), (targets, targets.div_ceil(3)));
        prop_assert!(!dir.at("out.journal").exists() && !dir.at("out.journal-wal").exists());
        prop_assert!(matches!(dir.open(false, true), Ok(Opened::Complete(_))));
    }
}

/// A hundred places, or with `scripts/chaos` each.
#[test]
fn a_damaged_journal_is_read_or_refused() {
    let dir = TestDir::new(40);
    let mut run = dir.run();
    for pick in 0..20 {
        run.finish(pick);
        run.commit();
    }
    drop(run);
    let whole = fs::read(dir.at("out.journal")).unwrap();
    let is_full_size = std::env::var_os("MUSTER_CHAOS").is_some();
    let step = if is_full_size { 1 } else { whole.len().div_ceil(100) };
    let offset = fastrand::usize(0..step);
    for at in (offset..whole.len()).step_by(step) {
        let byte = whole[at] ^ fastrand::u8(1..);
        let flipped = [&whole[..at], &[byte], &whole[at + 1..]].concat();
        for (bytes, harm) in [
            (&flipped[..], format!("byte {at} is {byte} instead of {}", whole[at])),
            (&whole[..at], format!("cut at byte {at}")),
        ] {
            for left in ["out.journal-wal", "out.journal-shm"] {
                let _ = fs::remove_file(dir.at(left));
            }
            fs::write(dir.at("out.journal"), bytes).unwrap();
            let read = catch_unwind(|| reopen(&dir.at("out.journal")));
            if let Ok(Some(recorded)) = read.unwrap_or_else(|_| panic!("reading it panicked: {harm}")) {
                assert!(recorded.state.finished.len() <= 40, "{harm}");
            }
        }
    }
    println!("{} bytes in steps of {step}", whole.len());
}

#[test]
fn many_commits_leave_few_sets() {
    let dir = TestDir::new(1000);
    let mut run = dir.run();
    for pick in 0..700 {
        run.finish(pick);
        run.commit();
    }
    let (wanted, todo) = (run.state.clone(), run.todo.len());
    drop(run);
    let again = dir.run();
    assert_eq!((again.state.tally, again.state.finished.len()), (wanted.tally, 700));
    assert_eq!(again.todo.len(), todo);
    drop(again.store);
    let sqlite = rusqlite::Connection::open(dir.at("out.journal")).unwrap();
    let sets: i64 = sqlite.query_row("SELECT count(*) FROM finished", [], |row| row.get(0)).unwrap();
    assert!(sets < 256, "{sets}");
}

/// A small file system; `None` if this user cannot create one.
struct Small(tempfile::TempDir);

impl Small {
    fn new(bytes: u64) -> Option<Self> {
        let small = Self(tempfile::tempdir().unwrap());
        small.mount(&format!("size={bytes}")).then_some(small)
    }

    fn mount(&self, options: &str) -> bool {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path()).output();
        mount.is_ok_and(|mount| mount.status.success())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_leaves_what_was_committed_needs_root() {
    let Some(small) = Small::new(256 * 1024) else {
        println!("skipped: only root may mount a small file system");
        return;
    };
    let dir = TestDir::new(2000);
    let output = small.0.path().join("out");
    let mut plan = dir.plan(false, true);
    plan.output = Output::File { path: output.clone(), overwrite: false, resume: true };
    let mut run = Run::new(&dir, open(&plan).unwrap()).unwrap();
    let mut committed = 0;
    let failed = loop {
        run.finish(1);
        let flushed = run.outlet.settle();
        if let Err(error) = flushed {
            break error.to_string();
        }
        let fresh = std::mem::take(&mut run.fresh);
        let (tally, prefix, output_bytes) =
            (run.state.tally.clone(), run.state.prefix, run.outlet.committed_len());
        if let Err(error) = run.store.commit(&Commit {
            fresh,
            tally,
            prefix,
            output_bytes,
            hosts: None,
            held: Vec::new(),
            uncertain: None,
            found_bytes: None,
            lists: ListChanges::new(),
        }) {
            break error.to_string();
        }
        committed += 1;
    };
    assert!(failed.contains("disk full") || failed.contains("the disk is full"), "{failed}");
    drop(run);
    let (_, recorded) = Store::open(&beside(&output, ".journal")).unwrap();
    assert_eq!(recorded.unwrap().state.finished.len(), committed);

    let more = Command::new("mount").args(["-o", "remount,size=16m"]).arg(small.0.path()).status().unwrap();
    assert!(more.success());
    let mut run = Run::new(&dir, open(&plan).unwrap()).unwrap();
    assert_eq!(run.todo.len() as u64, 2000 - committed);
    while !run.todo.is_empty() {
        run.finish(1);
    }
    run.end();
    fs::copy(output, dir.at("out")).unwrap();
    let mut ids = dir.ids();
    ids.sort_unstable();
    assert_eq!(ids, (0..2000).collect::<Vec<_>>());
}
