/** States of the service worth looking at, played by the double. */

import { Double, job } from "./double.mjs";

const MODES = [["both", 2, 24], ["concurrent", 1, 32], ["parallel", 2, 1], ["sequential", 1, 1]];
const wave = (n) => 0.5 + Math.sin(n) / 2;

/** A record of an input on which workers died. */
export const quarantined = (id, change = {}) => ({
  id, url: `https://shop.example/item/${id}?poison=segfault`, attempts: 3, worker: 1,
  error: {
    kind: "worker_crash", message: "worker died with SIGSEGV while extracting, 3 times",
    evidence: { signal: "SIGSEGV", phase: "extract", rss_bytes: 41234432, stderr: "thread 'main' has overflowed its stack\nnote: run with RUST_BACKTRACE=1\n" },
  },
  ...change,
});

const failed = (id) => ({ id, url: `https://slow.example/page/${id}`, attempts: 2, worker: 0, elapsed_ms: 5000.1, error: { kind: "timeout", message: "no answer within 5 s" } });
const fine = (id) => ({ id, url: `https://shop.example/item/${id}`, status: 200, attempts: 1, worker: 0, elapsed_ms: 12.3, bytes: 8123, fields: { title: `Item ${id}` } });

/** A job that has ended with a bit of everything. */
export function finished(id, change = {}) {
  return job(id, {
    name: "nightly", state: "done", mode: "both", exit_code: 3, started_at: "2026-11-28T18:30:43Z", finished_at: "2026-11-28T18:31:24Z",
    latency_ms: { p50: 9.1, p90: 20.4, p99: 48, max: 5000.2 }, errors: { timeout: 11, worker_crash: 2 },
    counts: { total: 100000, done: 100000, ok: 99987, failed: 13, quarantined: 2, retries: 31, bytes: 881234567 },
    summary: { mode: "both", workers: 2, wall_s: 41.2, cpu_s: 61.2, items_per_s: 2437.2, why: "a page waits 9.1 ms and computes 0.4 ms, so more is gained by many at once in every process" },
    ...change,
  });
}

export const finishedRecords = () => [...Array(40).keys()].map((id) => id < 2 ? quarantined(id) : id < 13 ? failed(id) : fine(id));

function advance(one, n) {
  const { counts } = one;
  const done = Math.min(counts.done + Math.round(one.items_per_s / 2), counts.total ?? Infinity);
  const bad = n % 4 ? 0 : 2;
  counts.ok += done - counts.done - bad;
  counts.failed += bad;
  counts.done = done;
  counts.bytes += done * 9;
  one.errors = { timeout: counts.failed };
  one.items_per_s = 3000 + 1500 * wave(n / 9 + one.id);
  one.eta_s = counts.total === null ? null : (counts.total - done) / one.items_per_s;
  one.latency_ms = { p50: 8 + 2 * wave(n / 7), p90: 20, p99: 44 + 20 * wave(n / 5), max: 120.2 };
  if (done >= (counts.total ?? Infinity)) counts.done = counts.ok = counts.failed = 0;
}

/** Four jobs in the four modes on six workers, others before and after them. */
export function busy() {
  let n = 0;
  const double = new Double({
    tick(self) {
      n += 1;
      const workers = [];
      for (const [i, [mode, processes, most]] of MODES.entries()) {
        const id = 21 + i;
        const one = self.jobs.get(id);
        if (one?.state !== "running") continue;
        advance(one, n);
        for (let slot = 0; slot < processes; slot += 1) {
          const inFlight = most === 1 ? Number(mode === "parallel" || n % 3 > 0) : Math.round(most * (0.6 + 0.4 * wave(n / 4 + slot + i)));
          const load = { both: 0.9, concurrent: 0.5, parallel: 0.98, sequential: 0.2 }[mode];
          const pid = 4712 + i * 10 + slot + (i === 0 && slot === 1 && n > 30 ? 5 : 0);
          workers.push({
            pid, state: inFlight ? "busy" : "idle", job: id, slot, in_flight: inFlight, phase: n % 3 ? "extract" : "idle",
            target: n % 3 ? n * 17 : null, target_ms: n % 3 ? 0.4 * (slot + 1) : null, rss_bytes: 38e6 + slot * 1e6, cpu_s: 1 + n / 2 * load * (0.8 + 0.2 * wave(n + slot)),
          });
        }
        one.counts.in_flight = workers.filter((worker) => worker.job === id).reduce((sum, worker) => sum + worker.in_flight, 0);
        self.put(one);
      }
      self.workers = workers;
      self.hosts = [["shop.example", 8, 8, 312, null], ["slow.example", 1, 4, 44, 12400], ["static.shop.example", 17, null, 0, null]]
        .map(([host, in_flight, in_flight_max, waiting, paused_ms]) => ({ host, in_flight, in_flight_max, waiting, paused_ms }));
      if (n % 12 === 5) self.tell("said", { job: 21, message: `worker 1: died with SIGSEGV; starting again in ${100 + n} ms` });
    },
  });
  double.scaled = 6;
  for (const [i, [mode, workers]] of MODES.entries()) {
    double.put(job(21 + i, {
      name: ["shop catalogue", "sitemap check", null, "one by one"][i], command: i === 2 ? "parse" : "fetch", state: "running", mode, workers,
      started_at: "2026-11-28T18:30:43Z", items_per_s: 3000, counts: { total: i === 1 ? null : 2e6, total_exact: i !== 3 },
    }), finishedRecords());
  }
  double.put(job(25, { name: "press archive", counts: { total: 40000 } }));
  double.put(job(26, { command: "csv", name: "sales 2026", state: "paused", counts: { total: 9e6, done: 31e5, ok: 31e5 } }));
  double.put(finished(20), finishedRecords());
  double.put(job(19, { command: "map", state: "failed", error: 'no program "sedd" in the directories of PATH; did you mean sed?', exit_code: 1, finished_at: "2026-11-28T18:00:00Z" }));
  double.put(job(18, { name: "tried too early", state: "cancelled", counts: { total: 5000, done: 412, ok: 412 }, started_at: "2026-11-28T17:00:00Z", finished_at: "2026-11-28T17:00:04Z" }));
  return double;
}

/** A thousand jobs and 64 workers. */
export function crowd() {
  let n = 0;
  const double = new Double({
    tick(self) {
      n += 1;
      for (let id = 980; id <= 1000; id += 1) {
        const one = self.jobs.get(id);
        advance(one, n + id);
        self.put(one);
      }
      self.workers = [...Array(64).keys()].map((slot) => ({
        pid: 5000 + slot, state: "busy", job: 980 + slot % 21, slot, in_flight: Math.round(40 * wave(n / 4 + slot)), phase: "extract",
        target: n, target_ms: 1.2, rss_bytes: 4e7, cpu_s: n / 2 * wave(slot),
      }));
      self.hosts = [...Array(200).keys()].map((i) => ({ host: `host-${i}.example`, in_flight: i % 9, in_flight_max: 8, waiting: i * n % 97, paused_ms: null }));
    },
  });
  double.scaled = 64;
  for (let id = 1; id <= 1000; id += 1) {
    double.put(id < 980 ? finished(id, { name: `crawl ${id}` }) : job(id, { name: `crawl ${id}`, state: "running", mode: "both", workers: 3, items_per_s: 3000, counts: { total: 1e7 } }));
  }
  return double;
}

/** What tries to be markup. */
export const HOSTILE = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>"'><svg onload=window.pwned=1>`;

/** Every text of the service hostile. */
export function hostile() {
  const double = new Double();
  const record = quarantined(0, { url: HOSTILE, fields: { [HOSTILE]: HOSTILE } });
  record.error.message = HOSTILE;
  record.error.kind = HOSTILE;
  record.error.evidence = { signal: HOSTILE, phase: HOSTILE, rss_bytes: 1, stderr: `${HOSTILE}\u0000\u202e${"A".repeat(5000)}` };
  const proxy = { proxy: HOSTILE, requests: 2, ok: 1, faults: 1, refused: 0, state: HOSTILE };
  double.put(finished(1, { name: HOSTILE, error: HOSTILE, errors: { [HOSTILE]: 1 }, mode: HOSTILE, summary: { ...finished(1).summary, why: HOSTILE, proxies: [proxy, proxy] }, counts: { total: 1, done: 1, ok: 0, failed: 1, quarantined: 1 } }), [record]);
  double.hosts = [{ host: HOSTILE, in_flight: 1, in_flight_max: 2, waiting: 1, paused_ms: null }];
  double.workers = [{ pid: 1, state: HOSTILE, job: 1, slot: 0, in_flight: 1, phase: HOSTILE, target: 1, target_ms: 1, rss_bytes: 1, cpu_s: 1 }];
  double.tick = (self) => self.tell("said", { job: 1, message: HOSTILE });
  return double;
}
