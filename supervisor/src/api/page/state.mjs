/**
 * What the page knows of the service: updated by events, read by everything that draws.
 */

import { Lanes, Seconds } from "./history.mjs";

/** Maximum ended jobs kept here, the newest ones. The service may have more. */
export const ENDED_MAX = 1000;

const ENDED = new Set(["done", "failed", "cancelled"]);

/** @param {any} job */
export const hasEnded = (job) => ENDED.has(job.state);

/** The title of a job. @param {any} job */
export const titleOf = (job) => job.name || `${job.command} ${job.id}`;

export class State {
  constructor() {
    /** @type {Map<number, any>} */
    this.jobs = new Map();
    /** @type {any} */
    this.service = null;
    /** @type {any[]} */
    this.hosts = [];
    this.seconds = new Seconds();
    this.lanes = new Lanes();
    /** @type {Map<number, number>} time of the last event about each job */
    this.heardAt = new Map();
    /** @type {Set<number>} jobs with an event since the connection was made */
    this.heard = new Set();
    /** Whether the list has been read since the connection was made. */
    this.complete = false;
  }

  /** A connection has begun. It reports all jobs that have not ended. */
  opened() {
    this.heard.clear();
    this.heardAt.clear();
    this.complete = false;
  }

  /** Merges the list that was requested after the connection was made. Events since then are newer. @param {any[]} jobs */
  listed(jobs) {
    const listed = new Set(jobs.map((job) => job.id));
    for (const id of this.jobs.keys()) {
      if (!listed.has(id) && !this.heard.has(id)) this.removed(id);
    }
    for (const job of jobs) {
      if (!this.heard.has(job.id)) this.jobs.set(job.id, job);
    }
    this.complete = true;
    this.#forgetOldest();
  }

  /** @param {any} job @param {number} now */
  job(job, now) {
    const before = this.jobs.get(job.id);
    const from = this.heardAt.get(job.id);
    const began = this.complete && !before;
    if (before && from !== undefined) {
      const done = job.counts.done - before.counts.done;
      const failed = job.counts.failed - before.counts.failed;
      if (done > 0 || failed > 0) this.seconds.add(from, now, Math.max(done, 0), Math.max(failed, 0));
    } else if (began && job.counts.done > 0) {
      this.seconds.add(now, now, job.counts.done, job.counts.failed);
    }
    this.jobs.set(job.id, job);
    this.heard.add(job.id);
    this.heardAt.set(job.id, now);
    if (began || hasEnded(job)) this.#forgetOldest();
  }

  /** @param {number} id */
  removed(id) {
    this.jobs.delete(id);
    this.heard.delete(id);
    this.heardAt.delete(id);
  }

  /** @param {{ service: any, workers: any[], hosts: any[] }} pulse @param {number} now */
  pulse(pulse, now) {
    this.service = pulse.service;
    this.hosts = pulse.hosts;
    this.lanes.pulse(now, pulse.workers);
    this.seconds.sample(now, this.#slowest());
  }

  #slowest() {
    let slowest = null;
    for (const { state, latency_ms: latency } of this.jobs.values()) {
      if (state === "running" && latency && (!slowest || latency.p99 > slowest.p99)) slowest = latency;
    }
    return slowest;
  }

  #forgetOldest() {
    if (this.jobs.size <= ENDED_MAX) return;
    const ended = [...this.jobs.values()].filter(hasEnded).sort((a, b) => a.id - b.id);
    for (const { id } of ended.slice(0, Math.max(ended.length - ENDED_MAX, 0))) this.removed(id);
  }

  /** Counts the jobs in each state. */
  tally() {
    /** @type {Record<string, number>} */
    const tally = {};
    for (const { state } of this.jobs.values()) tally[state] = (tally[state] ?? 0) + 1;
    return tally;
  }
}
