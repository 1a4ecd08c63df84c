//! Workers that stop moving without dying, as one does that the kernel or a debugger holds.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use shared::clock;

use super::scale;
use crate::harness::{Dir, Origin, Process, Running, fetch, parse};

/// `--parse-timeout` of these runs, and what the supervisor allows on top before it takes silence for a hang.
const STALL: Duration = Duration::from_millis(5_500);

/// Between asking a hung worker to end and killing it; one that is stopped hears nothing.
const GRACE: Duration = Duration::from_secs(2);

/// How much later than its deadline a hang may be found.
const SLACK: Duration = Duration::from_secs(2);

/// What came out of a pipe so far: nothing is kept but when, and of whom.
#[derive(Debug, Default)]
struct Seen {
    ids: HashMap<u64, u32>,
    failed: Vec<String>,
    /// When, and the slot.
    arrivals: Vec<(Instant, u64)>,
    bytes: u64,
}

/// Reads records off a pipe as they come.
struct Reader {
    pipe: PathBuf,
    seen: Arc<Mutex<Seen>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(dir: &Dir) -> Self {
        let pipe = dir.path("records");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let (seen, from) = (Arc::<Mutex<Seen>>::default(), pipe.clone());
        let into = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let mut lines = BufReader::with_capacity(1 << 20, File::open(from).unwrap());
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).unwrap() > 0 {
                into.lock().unwrap().take(&line);
                line.clear();
            }
        });
        Self { pipe, seen, thread }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().ids.len()
    }

    /// Records of each slot between two instants.
    fn between(&self, from: Instant, to: Instant) -> HashMap<u64, f64> {
        let mut counts = HashMap::new();
        for (_, slot) in self.seen.lock().unwrap().arrivals.iter().filter(|(at, _)| *at >= from && *at < to) {
            *counts.entry(*slot).or_default() += 1.0;
        }
        counts
    }

    fn finish(self) -> Seen {
        self.thread.join().unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Seen {
    fn take(&mut self, line: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(line.ends_with(b"}\n"), "half a record: {}", text(&line[line.len().saturating_sub(200)..]));
        let head = text(&line[..line.len().min(400)]);
        let number = |key: &str| -> u64 {
            let (_, rest) = head.split_once(key).unwrap_or_else(|| panic!("no {key} in {head}"));
            rest.split([',', '}']).next().unwrap().parse().unwrap()
        };
        if head.contains("\"error\":") {
            self.failed.push(head.clone());
        }
        *self.ids.entry(number("\"id\":")).or_default() += 1;
        self.arrivals.push((clock::now(), number("\"worker\":")));
        self.bytes += line.len() as u64;
    }

    /// Nothing twice; nothing set aside.
    fn is_clean(&self) {
        assert!(self.ids.values().all(|times| *times == 1), "something came twice");
        assert!(self.failed.is_empty(), "{:?}", self.failed.first());
    }
}

fn stop_some(run: &Running, count: usize, random: &mut Rng) -> Vec<(Process, Instant)> {
    let mut workers: Vec<_> = run.workers().into_iter().filter(|worker| worker.cpu_ticks() > 0).collect();
    random.shuffle(&mut workers);
    workers.truncate(count);
    // Each at a moment of its own.
    let stop = |worker: Process| {
        thread::park_timeout(Duration::from_millis(random.u64(0..40)));
        worker.try_signal(Signal::SIGSTOP);
        (worker, clock::now())
    };
    workers.into_iter().map(stop).collect()
}

/// Records of 200 KB, each many messages long, so that many are stopped in the middle of one.
#[test]
fn stopped_workers_are_found_in_time_and_cost_nobody_anything() {
    let (dir, mut random) = (Dir::new(), Rng::with_seed(5));
    let page = "<p>word</p>".repeat(30_000);
    for n in 0..20 {
        dir.write(format!("{n}.html"), format!("<title>{n}</title>{page}"));
    }
    let list: String = (0..40_000 * scale()).map(|n| format!("{}.html\n", n % 20)).collect();
    dir.write("list.txt", list);
    let reader = Reader::start(&dir);
    let flags = ["--mode", "parallel", "--workers", "8", "--parse-timeout", "0.5s", "--select", "p[]=p"];
    let run =
        parse().current_dir(dir.root()).args(flags).args(["-i", "list.txt", "-o"]).arg(&reader.pipe).spawn();
    let (mut stopped, wanted) = (0, 8 * scale());
    while stopped < wanted {
        let before = reader.count();
        run.until("records", || (reader.count() > before + 20).then_some(()));
        let stops = stop_some(&run, 4, &mut random);
        stopped += stops.len();
        for (worker, at) in stops {
            run.until("the end of a stopped worker", || (!worker.is_alive()).then_some(()));
            let after = clock::now() - at;
            assert!(after < STALL + GRACE + SLACK, "found after {after:?}: {}", run.stderr_so_far());
        }
    }
    run.signal(Signal::SIGTERM);
    run.wait().exits(143);
    let seen = reader.finish();
    assert!(seen.bytes > 200_000 * seen.ids.len() as u64, "records are meant to be large");
    seen.is_clean();
}

/// Work that waits: how fast a worker is depends on nothing but itself.
#[test]
fn a_stopped_worker_does_not_slow_the_others_down() {
    // In every run on a machine that does other things as well; in earnest by `scripts/chaos`.
    let least = if scale() == 1 { 0.5 } else { 0.9 };
    let (origin, dir) = (Origin::start(), Dir::new());
    let list: String =
        (0..30_000).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.1")))).collect();
    let reader = Reader::start(&dir);
    let flags = ["--mode", "both", "--workers", "4", "--concurrency", "8", "--parse-timeout", "0.5s"];
    let run =
        fetch().args(flags).arg("-i").arg(dir.write("urls.txt", list)).arg("-o").arg(&reader.pipe).spawn();
    run.wait_for_workers(4);
    let mut ratios = Vec::new();
    for _ in 0..scale().min(5) {
        let from = clock::now();
        run.until("a while", || (clock::now() - from > Duration::from_secs(3)).then_some(()));
        let (stops, until) = (stop_some(&run, 1, &mut Rng::with_seed(3)), clock::now());
        let Some((worker, at)) = stops.into_iter().next() else { continue };
        run.until("its end", || (!worker.is_alive()).then_some(()));
        let usual = reader.between(from, until);
        let during = reader.between(at, at + STALL);
        let seconds = |span: Duration| span.as_secs_f64();
        // The one that is stopped is the one that gave least.
        let mut shares: Vec<f64> = usual
            .iter()
            .map(|(slot, before)| {
                let now = during.get(slot).copied().unwrap_or(0.0);
                (now / seconds(STALL)) / (before / seconds(until - from))
            })
            .collect();
        shares.sort_by(f64::total_cmp);
        assert_eq!(shares.len(), 4);
        ratios.push(shares[1]);
    }
    run.signal(Signal::SIGTERM);
    run.wait().exits(143);
    reader.finish().is_clean();
    ratios.sort_by(f64::total_cmp);
    eprintln!("slowest of the other workers against itself before, in each round: {ratios:.2?}");
    assert!(ratios[ratios.len() / 2] >= least, "{ratios:?}");
}
