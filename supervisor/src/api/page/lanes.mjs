/**
 * One lane per worker process: its inputs in flight over the last minute, in
 * its job's colour, and below them its share of a CPU. One thin lane is
 * sequential, one full lane is concurrent, many thin lanes are parallel, many
 * full lanes are both.
 */

import { byId, follow, make, setAttribute, setText, show } from "./dom.mjs";
import * as format from "./format.mjs";
import { LANE_SAMPLES } from "./history.mjs";
import { colour, jobColour } from "./palette.mjs";
import { titleOf } from "./state.mjs";

/** Above this number of lanes, each is lower. */
const TALL_MAX = 12;

/** Heights in CSS pixels: in flight, gap, CPU. */
const TALL = { flight: 26, gap: 1, cpu: 9 };
const LOW = { flight: 14, gap: 1, cpu: 5 };

/** Up to this number in flight, each input is a block that can be counted; above it, the height is a square root. */
const COUNTABLE = 8;

/** Number of jobs in the legend, the newest ones. */
const LEGEND_MAX = 8;

/** Samples that the description in words is based on: five seconds. */
const RECENT = 10;

/** @param {import("./state.mjs").State} state */
export function drawLanes(state) {
  const { lanes } = state.lanes;
  const peak = state.lanes.peak();
  const size = lanes.length > TALL_MAX ? LOW : TALL;
  const list = byId("lanes");
  list.classList.toggle("low", size === LOW);
  follow(list, lanes, (lane) => lane.at, () => new LaneRow(size));
  for (const row of list.rowsByKey.values()) row.paint(size, peak);
  show(byId("no-workers"), state.service !== null && !lanes.length);
  show(byId("lane-axis"), lanes.length > 0);
  setText(byId("picture"), picture(lanes));
  legend(state, peak);
}

/** Describes the lanes in words. @param {import("./history.mjs").Lane[]} lanes */
export function picture(lanes) {
  const most = lanes.map((lane) => Math.max(0, ...lane.samples.slice(-RECENT).map((sample) => sample.inFlight)));
  const busy = most.filter(Boolean);
  const inFlight = busy.reduce((sum, each) => sum + each, 0);
  if (!busy.length) return lanes.length ? "all idle" : "";
  if (busy.length === 1) return inFlight === 1 ? "one input at a time" : `up to ${format.count(inFlight)} inputs at once in one process`;
  if (inFlight === busy.length) return `${format.count(busy.length)} processes, one input each`;
  return `${format.count(busy.length)} processes, up to ${format.count(inFlight)} inputs at once`;
}

/** @param {import("./state.mjs").State} state @param {number} peak */
function legend({ jobs, lanes }, peak) {
  const seen = new Set();
  for (const lane of lanes.lanes) for (const { job } of lane.samples) if (job !== null) seen.add(job);
  const entries = [...seen].sort((a, b) => a - b).slice(-LEGEND_MAX).map((id) => {
    const job = jobs.get(id);
    return { key: `j${id}`, colour: jobColour(id), text: job ? `${titleOf(job)}${job.mode ? ` (${job.mode})` : ""}` : `job ${id}` };
  });
  if (seen.size > LEGEND_MAX) entries.push({ key: "more", colour: "", text: `and ${format.plural(seen.size - LEGEND_MAX, "older job")}` });
  if (lanes.lanes.length) {
    entries.push({ key: "cpu", colour: "cpu", text: "CPU" });
    entries.push({ key: "scale", colour: "", text: `full height: ${format.count(Math.max(peak, 4))} in flight${peak > COUNTABLE ? ", square root" : ""}` });
  }
  follow(byId("lane-legend"), entries, (entry) => entry.key, (entry) => {
    const text = document.createTextNode("");
    const swatch = make("i", { "aria-hidden": "true" });
    swatch.style.background = `var(--${entry.colour})`;
    return {
      element: make("li", {}, entry.colour ? swatch : null, text),
      update: (now) => setText(text, now.text),
    };
  });
}

class LaneRow {
  /** @param {typeof TALL} size */
  constructor(size) {
    this.pid = make("b");
    this.memory = make("span");
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.flight = make("b");
    this.phase = make("span");
    this.element = make("li", {}, make("p", { className: "who" }, this.pid, this.memory), this.canvas,
      make("p", { className: "now" }, this.flight, this.phase));
    this.size = size;
    /** @type {import("./history.mjs").Lane | null} */
    this.lane = null;
  }

  /** @param {import("./history.mjs").Lane} lane */
  update(lane) {
    this.lane = lane;
    const { worker } = lane;
    setText(this.pid, worker ? String(worker.pid) : "gone");
    setText(this.memory, worker ? format.bytes(worker.rss_bytes) : "");
    setText(this.flight, worker?.state === "busy" ? `${format.count(worker.in_flight)} in flight` : worker?.state ?? "");
    setText(this.phase, worker ? doing(worker) : "");
    setAttribute(this.element, "data-state", worker?.state ?? "gone");
  }

  /** @param {typeof TALL} size @param {number} peak */
  paint(size, peak) {
    const { canvas, lane } = this;
    const width = canvas.clientWidth;
    const ratio = devicePixelRatio;
    const height = size.flight + size.gap + size.cpu;
    if (!width || !lane) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paintGround(context, width, size);
    paintSamples(context, width, size, lane.samples, peak);
  }
}

/** @param {any} worker */
function doing(worker) {
  if (worker.state !== "busy" || !worker.in_flight) return "";
  if (worker.phase === "idle") return "waiting";
  const target = worker.target === null ? "" : ` ${worker.target}`;
  const since = worker.target_ms === null ? "" : `, ${format.millis(worker.target_ms)}`;
  return `${worker.phase}${target}${since}`;
}

/** @param {CanvasRenderingContext2D} context @param {number} width @param {typeof TALL} size */
function paintGround(context, width, size) {
  context.clearRect(0, 0, width, size.flight + size.gap + size.cpu);
  context.fillStyle = colour("lane");
  context.fillRect(0, 0, width, size.flight);
  context.fillRect(0, size.flight + size.gap, width, size.cpu);
}

/**
 * @param {CanvasRenderingContext2D} context @param {number} width @param {typeof TALL} size
 * @param {import("./history.mjs").Sample[]} samples @param {number} peak
 */
function paintSamples(context, width, size, samples, peak) {
  const top = Math.max(peak, 4);
  const step = width / LANE_SAMPLES;
  const foot = size.flight + size.gap + size.cpu;
  const countable = peak <= COUNTABLE;
  samples.forEach((sample, i) => {
    // Align edges to whole pixels; otherwise a seam shows between neighbours.
    const from = Math.round((LANE_SAMPLES - samples.length + i) * step);
    const wide = Math.round((LANE_SAMPLES - samples.length + i + 1) * step) - from;
    if (sample.inFlight) {
      const share = countable ? sample.inFlight / top : Math.sqrt(sample.inFlight / top);
      const high = Math.max(Math.round(share * size.flight), 2);
      context.fillStyle = colour(sample.job === null ? "wait" : jobColour(sample.job));
      context.fillRect(from, size.flight - high, wide, high);
    }
    if (sample.cpu > 0.005) {
      const high = Math.max(sample.cpu * size.cpu, 1);
      context.fillStyle = colour("cpu");
      context.fillRect(from, foot - high, wide, high);
    }
    if (sample.replaced) {
      context.fillStyle = colour("fail");
      context.fillRect(from, 0, 2, foot);
    }
  });
  if (countable) paintCuts(context, width, size, top);
}

/** Gaps between stacked inputs. @param {CanvasRenderingContext2D} context @param {number} width @param {typeof TALL} size @param {number} top */
function paintCuts(context, width, size, top) {
  context.fillStyle = colour("lane");
  for (let n = 1; n < top; n += 1) context.fillRect(0, Math.round(size.flight - n / top * size.flight) - 0.5, width, 1);
}
