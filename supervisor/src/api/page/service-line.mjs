/**
 * The top of the page: the service in one line, and the state of the connection.
 */

import { byId, setAttribute, setText } from "./dom.mjs";
import * as format from "./format.mjs";

/** @typedef {{ kind: "connecting" | "live" | "lost" | "refused" }} Connection */

/** @param {Connection} connection @param {boolean} stopping */
export function drawConnection(connection, stopping) {
  const element = byId("connection");
  const texts = {
    connecting: "Connecting",
    live: stopping ? "The service is stopping" : "Live",
    lost: "Connection lost, trying again",
    refused: "Waiting for a token",
  };
  setAttribute(element, "data-state", connection.kind === "live" && stopping ? "lost" : connection.kind);
  setText(element, texts[connection.kind]);
  setAttribute(document.documentElement, "data-connection", connection.kind);
}

/** Number of seconds that the rates are averaged over. */
const RATE_OVER_S = 3;

/** @param {import("./state.mjs").State} state */
export function drawService(state) {
  const tally = state.tally();
  const running = (tally.running ?? 0) + (tally.draining ?? 0);
  const waiting = [[tally.queued, "queued"], [tally.paused, "paused"]].filter(([n]) => n);
  document.title = running ? `${format.count(running)} running · Muster` : "Muster";
  tile("running", format.count(running), waiting.map(([n, what]) => `${format.count(Number(n))} ${what}`).join(", ") || "nothing queued");
  const seconds = state.seconds;
  const errors = seconds.recent(seconds.errors, RATE_OVER_S);
  tile("rate", format.rate(seconds.recent(seconds.records, RATE_OVER_S)), errors ? `${format.rate(errors)} failed per second` : "no errors");
  setAttribute(byId("s-errors"), "data-bad", errors ? "" : null);
  drawProcesses(state);
}

/** @param {import("./state.mjs").State} state */
function drawProcesses({ service, lanes }) {
  if (!service) return;
  const workers = lanes.lanes.flatMap((lane) => lane.worker ?? []);
  const inFlight = workers.reduce((sum, worker) => sum + worker.in_flight, 0);
  const rss = workers.reduce((sum, worker) => sum + worker.rss_bytes, 0);
  const restarts = service.restarts ? `, ${format.plural(service.restarts, "restart")}` : "";
  tile("flight", format.count(inFlight), `in ${format.plural(workers.length, "worker")}`);
  tile("memory", format.bytes(service.rss_bytes + rss), `${format.bytes(service.rss_bytes)} supervisor`);
  setText(byId("s-uptime"), format.seconds(Math.floor(service.uptime_s)));
  setText(byId("s-version"), `version ${service.version}${restarts}`);
}

const NOTES = { running: "s-queued", rate: "s-errors", flight: "s-flight-note", memory: "s-memory-note" };

/** @param {keyof typeof NOTES} name @param {string} value @param {string} note */
function tile(name, value, note) {
  setText(byId(`s-${name}`), value);
  setText(byId(NOTES[name]), note);
}
