/**
 * The details of one job: its settings, how long inputs take, why inputs
 * failed, and the matching records.
 */

import { getRecords, hasToken, request } from "./api.mjs";
import { notice } from "./dialogs.mjs";
import { follow, make, setAttribute, setText, show } from "./dom.mjs";
import * as format from "./format.mjs";
import { failure, recordLine } from "./records.mjs";
import { hasEnded } from "./state.mjs";

/** Failed records that are read; the download has all. */
const FAILED_MAX = 100;

/** Proxies that are shown; the summary of a job has all. */
const PROXIES_MAX = 32;

/** Number of last records shown. */
const LAST = 20;

/** Shortest time between two reads of a running job's records, in milliseconds. */
const REREAD_MS = 2_000;

export class JobDetails {
  /** @param {HTMLElement} body */
  constructor(body) {
    this.abort = new AbortController();
    this.error = make("p", { className: "problem" });
    this.why = make("p", { className: "why" });
    this.facts = make("dl", { className: "pairs" });
    this.kinds = make("ul", { className: "kinds" });
    this.proxies = new ProxyTable();
    this.quarantined = new RecordSection("Quarantined", failure, this.abort.signal);
    this.failed = new RecordSection("Failed", failure, this.abort.signal);
    this.last = new RecordSection("Last records", recordLine, this.abort.signal);
    this.download = make("a", { className: "download", download: "" }, "Download all records (NDJSON)");
    this.download.addEventListener("click", (/** @type {Event} */ event) => downloadWithToken(event, this.download));
    body.replaceChildren(this.error, this.why, this.facts, this.kinds, this.proxies.element, this.quarantined.element, this.failed.element, this.last.element, this.download);
  }

  /** @param {any} job */
  update(job) {
    const path = `/v1/jobs/${job.id}/records`;
    show(this.error, job.error !== null);
    setText(this.error, job.error ?? "");
    const why = job.summary?.why;
    show(this.why, Boolean(why));
    setText(this.why, why ?? "");
    follow(this.facts, pairs(job), ([name]) => name, fact);
    this.#kinds(job);
    this.proxies.update(job.summary?.proxies ?? job.proxies ?? []);
    const { quarantined, failed, done } = job.counts;
    const ended = hasEnded(job);
    this.quarantined.want(quarantined, ended, `${path}?only=quarantined&limit=${FAILED_MAX}`);
    this.failed.want(failed - quarantined, ended, `${path}?only=failed&limit=${FAILED_MAX}`, (record) => !record.error?.evidence);
    this.last.want(job.command === "csv" ? 0 : done, ended, `${path}?from=${Math.max(done - LAST, 0)}&limit=${LAST}`);
    show(this.download, done > 0);
    this.download.href = path;
    this.download.download = `${(job.name ?? job.command).replace(/[^\w.-]+/g, "-")}-${job.id}.ndjson`;
  }

  /** @param {any} job */
  #kinds(job) {
    const kinds = Object.entries(job.errors).sort(([, a], [, b]) => b - a);
    const most = Math.max(...kinds.map(([, n]) => n), 1);
    follow(this.kinds, kinds, ([kind]) => kind, () => {
      const [number, name, bar] = [make("b"), make("span"), make("i", { "aria-hidden": "true" })];
      return {
        element: make("li", {}, number, name, bar),
        update: ([kind, n]) => {
          setText(number, format.count(n));
          setText(name, kind.replaceAll("_", " "));
          bar.style.width = `${n / most * 100}%`;
        },
      };
    });
  }

  gone() {
    this.abort.abort();
  }
}

/** @param {any} job @returns {[string, string][]} */
function pairs(job) {
  const { latency_ms: latency, counts } = job;
  /** @type {[string, string | null][]} */
  const all = [
    ["Latency p50", latency && format.millis(latency.p50)],
    ["Latency p90", latency && format.millis(latency.p90)],
    ["Latency p99", latency && format.millis(latency.p99)],
    ["Longest", latency && format.millis(latency.max)],
    ["Mode", job.mode],
    ["Workers", job.workers ? format.count(job.workers) : job.summary ? format.count(job.summary.workers) : null],
    ["In flight", hasEnded(job) ? null : format.count(counts.in_flight)],
    ["OK", format.count(counts.ok)],
    ["Failed", format.count(counts.failed)],
    ["Quarantined", format.count(counts.quarantined)],
    ["Retries", format.count(counts.retries)],
    ["Logins", job.summary?.login ? format.count(job.summary.login.logins) : null],
    ["Read", format.bytes(counts.bytes)],
    ["CPU time", job.summary ? format.seconds(job.summary.cpu_s) : null],
    ["Records per second", job.summary ? format.rate(job.summary.items_per_s) : null],
    ["Priority", job.priority ? String(job.priority) : null],
    ["Retry of job", job.retry_of === null ? null : String(job.retry_of)],
    ["Exit code", job.exit_code === null ? null : String(job.exit_code)],
    ["Submitted", format.dateTime(job.submitted_at)],
    ["Started", job.started_at && format.dateTime(job.started_at)],
    ["Ended", job.finished_at && format.dateTime(job.finished_at)],
  ];
  return /** @type {[string, string][]} */ (all.filter(([, value]) => value !== null));
}

/** @param {[string, string]} pair */
function fact([name]) {
  const value = make("dd");
  return {
    element: make("div", {}, make("dt", {}, name), value),
    update: (/** @type {[string, string]} */ [, text]) => setText(value, text),
  };
}

/** The proxies of a job, and what went through each. */
class ProxyTable {
  constructor() {
    const columns = ["Proxy", "Requests", "OK", "Faults", "Refused", "State"];
    this.rows = make("tbody");
    this.note = make("p", { className: "soft" });
    const head = make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name))));
    const scroll = { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Proxies" };
    this.element = make("div", { className: "proxies" }, make("h3", {}, "Proxies"), make("div", scroll, make("table", {}, head, this.rows)), this.note);
  }

  /** @param {any[]} proxies */
  update(proxies) {
    // Several may have one name, because credentials are not shown.
    const shown = proxies.slice(0, PROXIES_MAX).map((proxy, place) => ({ ...proxy, place }));
    show(this.element, shown.length > 0);
    follow(this.rows, shown, (proxy) => proxy.place, () => new ProxyRow());
    const more = proxies.length - shown.length;
    show(this.note, more > 0);
    setText(this.note, `${format.count(more)} more in the summary`);
  }
}

class ProxyRow {
  constructor() {
    this.name = make("th", { scope: "row" });
    this.cells = ["requests", "ok", "faults", "refused"].map((key) => ({ key, cell: make("td") }));
    this.state = make("td");
    this.element = make("tr", {}, this.name, ...this.cells.map(({ cell }) => cell), this.state);
  }

  /** @param {any} proxy */
  update(proxy) {
    setText(this.name, proxy.proxy);
    for (const { key, cell } of this.cells) setText(cell, proxy[key] ? format.count(proxy[key]) : format.NOTHING);
    setText(this.state, proxy.state);
    setAttribute(this.element, "data-paused", proxy.state === "resting" ? "" : null);
  }
}

/** Records of one kind. They are read again when their number has changed. */
class RecordSection {
  /**
   * @param {string} title
   * @param {(record: any) => HTMLElement} show
   * @param {AbortSignal} signal ends reading
   */
  constructor(title, show, signal) {
    this.title = title;
    this.show = show;
    this.signal = signal;
    this.heading = make("summary");
    this.note = make("p", { className: "soft" });
    this.list = make("ol", { className: "records", tabIndex: 0, "aria-label": title });
    this.element = make("details", { hidden: true, open: title !== "Last records", ontoggle: () => this.#read() }, this.heading, this.note, this.list);
    this.path = "";
    this.readPath = "";
    this.readCount = 0;
    this.readEnded = false;
    this.ended = false;
    this.count = 0;
    this.reading = false;
    this.readAt = -Infinity;
    this.timer = 0;
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /**
   * @param {number} count number of records
   * @param {boolean} ended whether no more will come
   * @param {string} path path to read them from
   * @param {(record: any) => boolean} [fits]
   */
  want(count, ended, path, fits = () => true) {
    this.count = count;
    this.ended = ended;
    this.path = path;
    this.fits = fits;
    show(this.element, count > 0);
    setText(this.heading, `${this.title} (${format.count(count)})`);
    this.#read();
  }

  /** Whether the shown records are out of date. The first hundred failures never change. */
  #stale() {
    if (!this.element.open || !this.count) return false;
    // Counts include records that are not committed yet, so read again when the job has ended.
    const more = this.readCount !== this.count || this.ended && !this.readEnded;
    return this.path !== this.readPath || more && this.list.children.length < Math.min(this.count, FAILED_MAX);
  }

  #read() {
    if (this.reading || !this.#stale() || this.signal.aborted) return;
    const wait = this.readAt + REREAD_MS - performance.now();
    clearTimeout(this.timer);
    if (wait > 0) this.timer = setTimeout(() => this.#read(), wait);
    else this.#readNow();
  }

  async #readNow() {
    const { path, count, ended } = this;
    this.reading = true;
    try {
      const records = await getRecords(path, this.signal);
      this.list.replaceChildren(...records.filter(this.fits ?? Boolean).map(this.show));
      setText(this.note, this.list.children.length < Math.min(count, LAST) ? "The others are not written yet, or are further back in the file." : "");
      this.readPath = path;
      this.readCount = count;
      this.readEnded = ended;
    } catch (error) {
      if (!this.signal.aborted) setText(this.note, `Cannot read the records: ${/** @type {Error} */ (error).message}`);
    } finally {
      this.reading = false;
      this.readAt = performance.now();
      show(this.note, this.note.textContent !== "");
    }
    this.#read();
  }
}

/** A link cannot send a token, so with a token the file is fetched first. @param {Event} event @param {HTMLAnchorElement} link */
async function downloadWithToken(event, link) {
  if (!hasToken()) return;
  event.preventDefault();
  try {
    const url = URL.createObjectURL(await (await request(link.href)).blob());
    make("a", { href: url, download: link.download }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    notice(`Cannot download the records: ${/** @type {Error} */ (error).message}`);
  }
}
