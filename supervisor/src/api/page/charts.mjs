/**
 * Throughput, latency and errors since the page was opened, for at most ten
 * minutes. uPlot draws the charts; the values are also shown as text.
 */

import { byId, make, setText } from "./dom.mjs";
import * as format from "./format.mjs";
import { CHART_S } from "./history.mjs";
import { colour, onNewColours } from "./palette.mjs";

/** Shortest span of a chart, so that the first seconds do not look like a trend. */
const SPAN_MIN_S = 60;

const HEIGHT = 120;

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {"records" | "errors" | "p50" | "p99"} ring
 * @property {string} colour
 * @property {number[]} [dash]
 * @property {boolean} [filled]
 */

/** @type {{ title: string, note: string, unit: (value: number) => string, lines: Line[] }[]} */
const CHARTS = [
  { title: "Records per second", note: "", unit: format.rate, lines: [{ name: "", ring: "records", colour: "items", filled: true }] },
  {
    title: "Latency", note: "of the slowest running job, since its start", unit: format.millis,
    lines: [{ name: "p50", ring: "p50", colour: "ink" }, { name: "p99", ring: "p99", colour: "ink", dash: [2, 3] }],
  },
  { title: "Errors per second", note: "", unit: format.rate, lines: [{ name: "", ring: "errors", colour: "fail", filled: true }] },
];

export class Charts {
  /** @param {import("./history.mjs").Seconds} seconds */
  constructor(seconds) {
    this.seconds = seconds;
    this.charts = CHARTS.map((chart) => new Chart(chart, seconds));
    byId("charts").append(...this.charts.map((chart) => chart.figure));
    onNewColours(() => this.charts.forEach((chart) => chart.plot?.redraw()));
    this.drawn = 0;
  }

  /** Called once per elapsed second. */
  draw() {
    if (this.seconds.last === this.drawn) return;
    this.drawn = this.seconds.last;
    for (const chart of this.charts) chart.draw();
  }
}

class Chart {
  /** @param {typeof CHARTS[number]} chart @param {import("./history.mjs").Seconds} seconds */
  constructor(chart, seconds) {
    this.chart = chart;
    this.seconds = seconds;
    this.values = chart.lines.map(() => make("b"));
    this.when = make("small");
    const legend = chart.lines.map((line, i) => make("span", { className: line.name }, line.name ? `${line.name} ` : "", this.values[i]));
    const note = chart.note ? make("small", {}, chart.note) : null;
    this.field = make("div", { className: "plot" });
    this.figure = make("figure", { tabIndex: 0, role: "group", "aria-label": `${chart.title}: a chart; use the arrow keys to move through time` },
      make("figcaption", {}, make("span", { className: "title" }, chart.title), ...legend, this.when, note), this.field);
    this.figure.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#walk(event));
    this.figure.addEventListener("blur", () => this.plot?.setCursor({ left: -10, top: -10 }));
    /** @type {any} */
    this.plot = null;
    new ResizeObserver(() => this.plot?.setSize({ width: this.field.clientWidth, height: HEIGHT })).observe(this.field);
  }

  draw() {
    const columns = this.seconds.columns(...this.chart.lines.map((line) => this.seconds[line.ring]));
    if (!this.plot) this.plot = this.#make(columns);
    else this.plot.setData(columns);
    this.#say();
  }

  /** Shows the values under the cursor, or the newest. */
  #say() {
    const { plot } = this;
    const at = plot.cursor.idx ?? null;
    const index = at ?? plot.data[0].length - 1;
    setText(this.when, at === null ? "" : `at ${format.timeOfDay(plot.data[0][at] * 1e3)}`);
    this.values.forEach((element, i) => {
      const value = plot.data[i + 1][index];
      setText(element, value === null || value === undefined ? format.NOTHING : this.chart.unit(value));
    });
  }

  /** @param {KeyboardEvent} event */
  #walk(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const { plot } = this;
    if (!step || !plot || !plot.data[0].length) return;
    event.preventDefault();
    const last = plot.data[0].length - 1;
    const next = Math.min(Math.max((plot.cursor.idx ?? last + (step < 0 ? 1 : 0)) + step, 0), last);
    plot.setCursor({ left: plot.valToPos(plot.data[0][next], "x"), top: HEIGHT / 3 });
  }

  /** @param {any[]} columns */
  #make(columns) {
    const { lines, unit } = this.chart;
    const axis = { stroke: () => colour("soft"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const options = {
      width: this.field.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      padding: [6, 8, 0, 0],
      cursor: { sync: { key: "muster", setSeries: false }, drag: { x: false, y: false }, y: false, points: { size: 6 } },
      scales: {
        x: { range: (/** @type {any} */ plot) => span(plot.data[0]) },
        y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) => [0, (max || 1) * 1.1] },
      },
      axes: [
        { ...axis, size: 22, space: 90, values: times },
        { ...axis, size: 56, space: 28, values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map(unit) },
      ],
      series: [{}, ...lines.map((line) => ({
        stroke: () => colour(line.colour),
        fill: line.filled ? () => `${colour(line.colour)}55` : undefined,
        width: 1.5,
        dash: line.dash,
        points: { show: false },
      }))],
      hooks: { setCursor: [() => this.plot && this.#say()] },
    };
    return new /** @type {any} */ (window).uPlot(options, columns, this.field);
  }
}

/** Times of day, without one at the right edge, which would be cut off. @param {any} plot @param {number[]} splits */
function times(plot, splits) {
  const { min, max } = plot.scales.x;
  return splits.map((at) => at > max - (max - min) / 12 ? "" : format.timeOfDay(at * 1e3));
}

/** The span of a chart: whole minutes, up to ten. @param {number[]} times */
function span(times) {
  const to = times.at(-1) ?? Math.floor(Date.now() / 1e3);
  const from = times[0] ?? to;
  const minutes = Math.ceil((to - from + 1) / SPAN_MIN_S) * SPAN_MIN_S;
  return [to - Math.min(Math.max(minutes, SPAN_MIN_S), CHART_S), to];
}
