/**
 * The list of jobs, one page at a time. A row opens to show the job's details.
 */

import { actionsFor } from "./actions.mjs";
import { byId, follow, make, setAttribute, setText, show } from "./dom.mjs";
import * as format from "./format.mjs";
import { JobDetails } from "./job-details.mjs";
import { jobColour } from "./palette.mjs";
import { hasEnded, titleOf } from "./state.mjs";

/** Rows on a page. */
const PAGE = 25;

/** The states of most interest come first. */
const RANK = { running: 0, draining: 0, paused: 1, queued: 2 };

/** @param {any} job */
const rank = (job) => RANK[/** @type {keyof typeof RANK} */ (job.state)] ?? 3;

export class JobList {
  /**
   * @param {import("./state.mjs").State} state
   * @param {() => void} redraw requests a call of `draw`
   * @param {(error: Error) => void} failed reports a failed action
   */
  constructor(state, redraw, failed) {
    this.state = state;
    this.redraw = redraw;
    this.failed = failed;
    this.page = 0;
    /** @type {number | null} */
    this.open = null;
    byId("find").addEventListener("input", () => this.#turnTo(0));
    byId("states").addEventListener("change", () => this.#turnTo(0));
    byId("newer").addEventListener("click", () => this.#turnTo(this.page - 1));
    byId("older").addEventListener("click", () => this.#turnTo(this.page + 1));
    byId("job-list").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => walk(event));
  }

  /** @param {number} page */
  #turnTo(page) {
    this.page = page;
    this.redraw();
  }

  /** Opens or closes a job's details. @param {number} id */
  toggle(id) {
    this.open = this.open === id ? null : id;
    this.redraw();
  }

  /** Shows a new job, even if the filter would hide it. @param {any} job */
  reveal(job) {
    this.state.jobs.set(job.id, this.state.jobs.get(job.id) ?? job);
    byId("find").value = "";
    byId("states").value = "";
    const index = this.#chosen().findIndex(({ id }) => id === job.id);
    this.page = Math.max(Math.floor(index / PAGE), 0);
    this.open = job.id;
    this.draw();
    byId(`job-${job.id}`).focus();
  }

  #chosen() {
    const words = byId("find").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const states = byId("states").value.split(" ").filter(Boolean);
    const fits = (/** @type {any} */ job) => {
      if (states.length && !states.includes(job.state)) return false;
      const text = words.length ? `${titleOf(job)} ${job.id} ${job.command} ${job.state}`.toLowerCase() : "";
      return words.every((/** @type {string} */ word) => text.includes(word));
    };
    return [...this.state.jobs.values()].filter(fits).sort((a, b) => rank(a) - rank(b) || b.id - a.id);
  }

  draw() {
    const chosen = this.#chosen();
    const pages = Math.max(Math.ceil(chosen.length / PAGE), 1);
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const from = this.page * PAGE;
    const shown = chosen.slice(from, from + PAGE);
    const focused = document.activeElement?.closest(".job");
    follow(byId("job-list"), shown, (job) => job.id, (job) => new Row(job, this));
    // The focused row is gone: move the focus to a nearby element.
    if (focused && !focused.isConnected) (document.querySelector(".job .pick") ?? byId("jobs")).focus();
    show(byId("no-jobs"), !chosen.length);
    setText(byId("no-jobs"), this.#nothing());
    show(byId("job-pages"), pages > 1);
    setText(byId("job-range"), `${format.count(from + 1)} to ${format.count(from + shown.length)} of ${format.count(chosen.length)}`);
    byId("newer").disabled = this.page === 0;
    byId("older").disabled = this.page === pages - 1;
  }

  #nothing() {
    if (this.state.jobs.size) return "No job matches.";
    return this.state.complete ? "No jobs yet. Submit one with “New job” or POST /v1/jobs." : "Connecting";
  }
}

/** Arrow keys move from row to row. @param {KeyboardEvent} event */
function walk(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !target.classList.contains("pick")) return;
  const picks = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".job .pick")]);
  const next = picks[picks.indexOf(target) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

/** One job's row. Its elements are kept, so that the focus is kept too. */
class Row {
  /** @param {any} job @param {JobList} list */
  constructor(job, list) {
    this.job = job;
    this.list = list;
    const { id } = job;
    this.name = make("span", { className: "name" });
    this.kind = make("small");
    this.chip = make("span", { className: "chip" });
    this.pick = make("button", { type: "button", className: "pick", id: `job-${id}`, "aria-controls": `details-${id}`, onclick: () => list.toggle(id) },
      make("i", { className: "swatch", "aria-hidden": "true" }), this.name, this.kind);
    this.done = make("i");
    this.bad = make("i", { className: "bad" });
    this.progress = make("div", { className: "progress", role: "progressbar", "aria-valuemin": "0" }, this.done, this.bad);
    this.facts = make("p", { className: "facts" });
    this.failures = make("b", { className: "bad" });
    this.actions = make("div", { className: "actions" });
    this.buttons = { hold: this.#button("hold"), retry: this.#button("retry"), end: this.#button("end") };
    this.body = make("div", { className: "details", id: `details-${id}`, role: "region", "aria-labelledby": `job-${id}` });
    this.element = make("li", { className: "job" }, this.pick, this.chip, this.actions, this.progress,
      make("p", { className: "line" }, this.facts, this.failures), this.body);
    this.pick.firstElementChild.style.background = `var(--${jobColour(id)})`;
    /** @type {JobDetails | null} */
    this.details = null;
  }

  /** @param {import("./actions.mjs").ButtonKind} kind */
  #button(kind) {
    const button = make("button", { type: "button", onclick: () => this.#act(kind) });
    this.actions.append(button);
    return button;
  }

  /** @param {import("./actions.mjs").ButtonKind} kind */
  async #act(kind) {
    const button = this.buttons[kind];
    if (button.ariaBusy === "true") return;
    button.ariaBusy = "true";
    try {
      await actionsFor(this.job)[kind]?.act(this.job);
    } catch (error) {
      this.list.failed(/** @type {Error} */ (error));
    } finally {
      button.ariaBusy = "false";
    }
  }

  /** @param {any} job */
  update(job) {
    this.job = job;
    const open = this.list.open === job.id;
    setText(this.name, titleOf(job));
    setText(this.kind, [job.name ? `${job.command} ${job.id}` : "", job.mode ?? ""].filter(Boolean).join(" · "));
    setText(this.chip, job.state);
    setAttribute(this.element, "data-state", job.state);
    setAttribute(this.pick, "aria-expanded", String(open));
    this.#progress(job);
    setText(this.facts, facts(job));
    setText(this.failures, job.counts.failed ? `${format.count(job.counts.failed)} failed` : "");
    const actions = actionsFor(job);
    for (const kind of /** @type {import("./actions.mjs").ButtonKind[]} */ (Object.keys(this.buttons))) {
      const action = actions[kind];
      show(this.buttons[kind], action !== null);
      if (!action) continue;
      setText(this.buttons[kind], action.label);
      setAttribute(this.buttons[kind], "aria-label", `${action.label}: ${titleOf(job)}`);
    }
    show(this.body, open);
    if (open) (this.details ??= new JobDetails(this.body)).update(job);
    else this.#close();
  }

  /** @param {any} job */
  #progress(job) {
    const { total, done, failed } = job.counts;
    const all = total === null ? (job.state === "done" ? done : null) : Math.max(total, done);
    setAttribute(this.progress, "aria-label", `Progress of ${titleOf(job)}`);
    setAttribute(this.progress, "aria-valuemax", all === null ? null : String(all || 1));
    setAttribute(this.progress, "aria-valuenow", all === null ? null : String(all ? done : 1));
    setAttribute(this.progress, "aria-valuetext", facts(job));
    this.progress.classList.toggle("unknown", all === null && !hasEnded(job));
    const share = (/** @type {number} */ part) => `${all ? part / all * 100 : 0}%`;
    this.done.style.width = share(done - failed);
    this.bad.style.width = share(failed);
  }

  #close() {
    this.details?.gone();
    this.details = null;
    if (this.body.firstChild) this.body.replaceChildren();
  }

  gone() {
    this.details?.gone();
  }
}

/** The progress of a job, in one line. @param {any} job */
function facts(job) {
  const { total, total_exact: exact, done } = job.counts;
  const of = total === null ? "" : ` of ${exact ? "" : "about "}${format.count(total)}`;
  const parts = [`${format.count(done)}${of}`];
  if (total !== null && !hasEnded(job) && done) parts.push(format.percent(done, total));
  if (job.state === "running" || job.state === "draining") {
    parts.push(`${format.rate(job.items_per_s)} per second`);
    if (job.eta_s !== null) parts.push(`${format.seconds(job.eta_s)} left`);
  }
  if (hasEnded(job) && job.summary) parts.push(`in ${format.seconds(job.summary.wall_s)}`);
  return parts.join(" · ");
}
