/**
 * A stand-in for the service that speaks docs/API.md from memory: for what the
 * real one cannot be brought to quickly, such as a thousand jobs, 64 workers,
 * hostile names or a missing token. It does no work; `tick` plays some.
 *
 *     node tests/browser/double.mjs [PORT]     serves a busy one to look at
 */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const PAGE = new URL("../../supervisor/src/api/page/", import.meta.url);
const TYPES = { html: "text/html; charset=utf-8", css: "text/css; charset=utf-8", mjs: "text/javascript; charset=utf-8", js: "text/javascript; charset=utf-8", svg: "image/svg+xml" };
/** As the service sends it. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PULSE_MS = 500;

const ended = (job) => ["done", "failed", "cancelled"].includes(job.state);

/** A job as docs/API.md shows it. */
export function job(id, change = {}) {
  return {
    id, name: null, command: "fetch", state: "queued", priority: 0, submitted_at: "2026-11-28T18:30:43Z", started_at: null, finished_at: null,
    workers: 0, mode: null, items_per_s: 0, eta_s: null, latency_ms: null, errors: {}, exit_code: null, error: null, retry_of: null, summary: null,
    ...change,
    counts: { total: 1000, total_exact: true, done: 0, ok: 0, failed: 0, quarantined: 0, retries: 0, bytes: 0, in_flight: 0, ...change.counts },
  };
}

export class Double {
  /** @param {{ token?: string, tick?: (double: Double) => void }} [options] */
  constructor({ token, tick } = {}) {
    Object.assign(this, { token, tick });
    this.jobs = new Map();
    this.records = new Map();
    this.workers = [];
    this.hosts = [];
    this.scaled = 2;
    this.began = Date.now();
    /** Requests other than GET, as they came. */
    this.asked = [];
    this.listeners = new Set();
    this.server = createServer((request, response) => this.#answer(request, response).catch((error) => problem(response, 500, String(error))));
  }

  async listen(port = 0) {
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    this.timer = setInterval(() => {
      this.tick?.(this);
      this.tell("pulse", { service: this.#service(), workers: this.workers, hosts: this.hosts });
    }, PULSE_MS);
    return `http://127.0.0.1:${this.port}`;
  }

  async close() {
    clearInterval(this.timer);
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Puts a job there and tells of it. */
  put(one, records) {
    this.jobs.set(one.id, one);
    if (records) this.records.set(one.id, records);
    this.tell("job", one);
    return one;
  }

  tell(event, data) {
    for (const listener of this.listeners) listener.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #service() {
    return { version: "0.1.0", pid: 4711, uptime_s: (Date.now() - this.began) / 1e3, workers: this.scaled, jobs_max: 2, stopping: false, rss_bytes: 31457280, cpu_s: 1.5, restarts: 0 };
  }

  async #answer(request, response) {
    const { pathname: path, searchParams } = new URL(request.url, "http://localhost");
    if (path === "/" || path.startsWith("/assets/")) return file(path, response);
    if (this.token && request.headers.authorization !== `Bearer ${this.token}`) return problem(response, 401, "a bearer token is needed");
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    if (request.method !== "GET") this.asked.push({ method: request.method, path, headers: request.headers, body });
    const [, id, verb] = /^\/v1\/jobs\/(\d+)(?:\/([a-z-]+))?$/.exec(path) ?? [];
    if (id) return this.#one(request.method, this.jobs.get(Number(id)), verb, searchParams, response);
    if (path === "/v1/events") return this.#events(response);
    if (path === "/v1/jobs" && request.method === "GET") {
      const newest = [...this.jobs.values()].sort((a, b) => b.id - a.id).slice(0, Number(searchParams.get("limit") ?? 100));
      return json(response, 200, { jobs: newest });
    }
    if (path === "/v1/jobs") return this.#submit(request, body, response);
    if (path === "/v1/workers") {
      const { count } = JSON.parse(body);
      this.scaled = count === "auto" ? 2 : count;
      return json(response, 200, { count: this.scaled });
    }
    problem(response, 404, `there is no ${path}`);
  }

  #events(response) {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(": hello\n\n");
    this.listeners.add(response);
    response.on("close", () => this.listeners.delete(response));
    for (const one of this.jobs.values()) if (!ended(one)) response.write(`event: job\ndata: ${JSON.stringify(one)}\n\n`);
  }

  #submit(request, body, response) {
    const part = request.headers["content-type"].startsWith("multipart/") ? /name="job"[^]*?\r\n\r\n([^]*?)\r\n--/.exec(body)[1] : body;
    const document = JSON.parse(part);
    if ("slect" in document) return problem(response, 422, 'unknown key "slect"; did you mean "select"?');
    if (document.workers > 64) return problem(response, 422, "--workers: 64 is the most there may be");
    const one = this.put(job(Math.max(0, ...this.jobs.keys()) + 1, {
      name: document.name ?? null, command: document.command, priority: document.priority ?? 0, counts: { total: document.urls?.length ?? null },
    }));
    json(response, 201, one);
  }

  #one(method, one, verb, query, response) {
    if (!one) return problem(response, 404, "there is no such job");
    if (verb === "records") return this.#records(one, query, response);
    if (method === "GET") return json(response, 200, one);
    if (method === "DELETE") {
      if (!ended(one)) {
        this.put({ ...one, state: "cancelled", finished_at: new Date().toISOString(), eta_s: null, workers: 0 });
        return json(response, 202, one);
      }
      this.jobs.delete(one.id);
      response.writeHead(204).end();
      return this.tell("removed", { id: one.id });
    }
    if (verb === "retry-failed") return json(response, 201, this.put(job(Math.max(...this.jobs.keys()) + 1, { retry_of: one.id, counts: { total: one.counts.failed } })));
    const next = { pause: ["running", "paused"], resume: ["paused", "running"] }[verb];
    if (one.state !== next[0] && one.state !== "queued") return problem(response, 409, `job ${one.id} is ${one.state}`);
    json(response, 200, this.put({ ...one, state: next[1] }));
  }

  #records(one, query, response) {
    const only = query.get("only");
    const fits = (record) => !only || record.error && (only === "failed" || record.error.evidence);
    const from = Number(query.get("from") ?? 0);
    const records = (this.records.get(one.id) ?? []).filter(fits).slice(from, from + Number(query.get("limit") ?? 1e9));
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    response.end(records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  }
}

async function file(path, response) {
  const name = path === "/" ? "index.html" : path.slice("/assets/".length).replace(/^uplot\./, "uplot/uplot.");
  try {
    const bytes = await readFile(new URL(name, PAGE));
    response.writeHead(200, { "Content-Type": TYPES[name.split(".").pop()], "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff" });
    response.end(bytes);
  } catch {
    problem(response, 404, `there is no ${path}`);
  }
}

function json(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}

function problem(response, status, detail) {
  response.writeHead(status, { "Content-Type": "application/problem+json" });
  response.end(JSON.stringify({ type: "about:blank", title: `Problem ${status}`, status, detail }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { busy } = await import("./scenes.mjs");
  process.stdout.write(`${await busy().listen(Number(process.argv[2] ?? 0))}\n`);
}
