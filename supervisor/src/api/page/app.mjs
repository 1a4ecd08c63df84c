/**
 * The dashboard. Events change the state; frames draw it.
 *
 * ```text
 * stream ── events ──→ state ── at most once a frame ──→ list, lanes, charts, …
 *    └── said ──→ log        actions, forms ── requests ──→ service
 * ```
 * Responses to requests are never drawn: only events change what is shown.
 */

import { getJson } from "./api.mjs";
import { Charts } from "./charts.mjs";
import { askForToken, notice } from "./dialogs.mjs";
import { everyFrame } from "./dom.mjs";
import { drawHosts } from "./hosts.mjs";
import { JobList } from "./job-list.mjs";
import { drawLanes } from "./lanes.mjs";
import { say } from "./log.mjs";
import { onNewColours } from "./palette.mjs";
import { scaleControl } from "./scale.mjs";
import { drawConnection, drawService } from "./service-line.mjs";
import { ENDED_MAX, State } from "./state.mjs";
import { listen } from "./stream.mjs";
import { submitForm } from "./submit.mjs";

const state = new State();
/** @type {import("./service-line.mjs").Connection} */
let connection = { kind: "connecting" };

/** @param {Error} error */
function failed(error) {
  const text = error instanceof TypeError ? "Cannot reach the service; nothing was changed." : error.message;
  notice(text);
  say(null, text);
}

/** Shortest time between two redraws of the jobs. With 10,000 jobs, sorting them is the most expensive work of the page. */
const NEWS_MS = 200;

const list = new JobList(state, everyFrame(() => list.draw()), failed);
const charts = new Charts(state.seconds);
const showScale = scaleControl(failed);

const drawJobs = everyFrame(() => {
  list.draw();
  drawService(state);
}, NEWS_MS);
const drawPulse = everyFrame(() => {
  drawConnection(connection, state.service?.stopping ?? false);
  drawService(state);
  drawLanes(state);
  drawHosts(state.hosts);
  charts.draw();
  if (state.service) showScale(state.service.workers);
});

/** @type {Record<string, (data: any) => void>} */
const handlers = {
  job(data) {
    state.job(data, Date.now());
    drawJobs();
  },
  removed(data) {
    state.removed(data.id);
    drawJobs();
  },
  pulse(data) {
    state.pulse(data, Date.now());
    drawPulse();
  },
  said(data) {
    say(data.job, String(data.message));
  },
  lost() {
    state.opened();
    readList();
  },
};

/** Events do not include ended jobs; the list does. */
async function readList() {
  try {
    state.listed((await getJson(`/v1/jobs?limit=${ENDED_MAX}`)).jobs);
    drawJobs();
  } catch (error) {
    failed(/** @type {Error} */ (error));
  }
}

/** @param {import("./service-line.mjs").Connection} next */
function connected(next) {
  connection = next;
  drawPulse();
}

let refusedBefore = false;

submitForm((job) => list.reveal(job));
addEventListener("resize", drawPulse);
onNewColours(drawPulse);
listen({
  opened() {
    refusedBefore = false;
    state.opened();
    connected({ kind: "live" });
    readList();
  },
  heard(event, data) {
    if (data !== null || event === "lost") handlers[event]?.(data);
  },
  lost() {
    connected({ kind: "lost" });
  },
  async refused() {
    connected({ kind: "refused" });
    await askForToken(refusedBefore);
    refusedBefore = true;
  },
});
