/**
 * What happened since the page was opened, in memory that does not grow: rates
 * per second over the last ten minutes, and each worker's activity over the
 * last one. Pure: the time is an argument, in milliseconds.
 */

/** Seconds covered by the charts. */
export const CHART_S = 600;

/** A ring buffer of seconds. Each holds sums (records, errors) and samples (latency) of that second. */
export class Seconds {
  constructor() {
    this.records = new Float64Array(CHART_S);
    this.errors = new Float64Array(CHART_S);
    this.p50 = new Float64Array(CHART_S).fill(NaN);
    this.p99 = new Float64Array(CHART_S).fill(NaN);
    /** @type {number | null} the very first second; `last` is the newest */
    this.first = null;
    this.last = 0;
  }

  /** Makes room up to `second`. @param {number} second */
  #reach(second) {
    if (this.first === null) {
      this.first = second;
      this.last = second - 1;
    }
    for (let at = Math.max(this.last + 1, second - CHART_S + 1); at <= second; at += 1) {
      const index = at % CHART_S;
      this.records[index] = 0;
      this.errors[index] = 0;
      this.p50[index] = NaN;
      this.p99[index] = NaN;
    }
    this.last = Math.max(this.last, second);
  }

  /**
   * Spreads what happened between two times evenly: events come in bursts, work does not.
   * @param {number} from @param {number} to @param {number} records @param {number} errors
   */
  add(from, to, records, errors) {
    const second = Math.floor(to / 1e3);
    this.#reach(second);
    const span = Math.max(to - from, 1);
    const oldest = Math.max(Math.floor(from / 1e3), this.last - CHART_S + 1, this.first ?? 0);
    for (let at = oldest; at <= second; at += 1) {
      const begins = at === oldest ? from : at * 1e3;
      const part = (Math.min(to, (at + 1) * 1e3) - begins) / span;
      this.records[at % CHART_S] += records * (from === to ? 1 : part);
      this.errors[at % CHART_S] += errors * (from === to ? 1 : part);
    }
  }

  /** Records the current latency; nothing if no job runs. @param {number} now @param {{ p50: number, p99: number } | null} latency */
  sample(now, latency) {
    const second = Math.floor(now / 1e3);
    this.#reach(second);
    this.p50[second % CHART_S] = latency ? latency.p50 : NaN;
    this.p99[second % CHART_S] = latency ? latency.p99 : NaN;
  }

  /**
   * Columns for a chart, oldest first, without the current second. Gaps are null.
   * @param {...Float64Array} rings
   * @returns {(number | null)[][]} times in seconds, then one column for each ring
   */
  columns(...rings) {
    const times = [];
    const columns = rings.map(() => /** @type {(number | null)[]} */ ([]));
    const oldest = Math.max(this.first ?? 0, this.last - CHART_S + 1);
    for (let at = oldest; at < this.last && this.first !== null; at += 1) {
      times.push(at);
      rings.forEach((ring, i) => {
        const value = ring[at % CHART_S];
        columns[i].push(Number.isNaN(value) ? null : value);
      });
    }
    return [times, ...columns];
  }

  /** Mean of the last complete seconds. @param {Float64Array} ring @param {number} seconds */
  recent(ring, seconds) {
    if (this.first === null) return 0;
    let sum = 0;
    let n = 0;
    for (let at = Math.max(this.first, this.last - seconds); at < this.last; at += 1) {
      sum += ring[at % CHART_S];
      n += 1;
    }
    return n ? sum / n : 0;
  }
}

/** Samples per lane: one minute at two pulses per second. */
export const LANE_SAMPLES = 120;

/**
 * @typedef {object} Sample one lane at one pulse
 * @property {number} inFlight
 * @property {number | null} job
 * @property {number} cpu share of one CPU, 0 to 1
 * @property {boolean} replaced whether the process replaced another one of the same job
 */

/** @typedef {{ at: number, pid: number | null, worker: any, job: number | null, cpuS: number, samples: Sample[], goneAt: number | null }} Lane */

/** How long the lane of an exited worker waits for its replacement. */
const REPLACED_WITHIN_MS = 5_000;

const EMPTY = { inFlight: 0, job: null, cpu: 0, replaced: false };

/** One lane per worker process. A replacement gets the lane of its predecessor. */
export class Lanes {
  constructor() {
    /** @type {Lane[]} */
    this.lanes = [];
    this.made = 0;
    this.pulsedAt = 0;
  }

  /** @param {number} now @param {any[]} workers as in a pulse */
  pulse(now, workers) {
    const dt = Math.max(now - this.pulsedAt, 1) / 1e3;
    this.pulsedAt = now;
    const byPid = new Map(workers.map((worker) => [worker.pid, worker]));
    for (const lane of this.lanes) {
      if (lane.pid === null || byPid.has(lane.pid)) continue;
      lane.pid = null;
      lane.worker = null;
      lane.goneAt = now;
    }
    const placed = new Set(this.lanes.map((lane) => lane.pid));
    const fresh = new Set();
    for (const worker of workers) {
      if (placed.has(worker.pid)) continue;
      const free = this.lanes.filter((lane) => lane.pid === null);
      const lane = free.find((each) => each.job === worker.job) ?? free[0] ?? this.#add();
      // A process of another job is not a replacement.
      if (lane.goneAt !== null && lane.job === worker.job && lane.job !== null) fresh.add(lane);
      lane.pid = worker.pid;
      lane.cpuS = worker.cpu_s;
      lane.goneAt = null;
    }
    this.lanes = this.lanes.filter((lane) => lane.goneAt === null || now - lane.goneAt < REPLACED_WITHIN_MS);
    for (const lane of this.lanes) {
      lane.worker = lane.pid === null ? null : byPid.get(lane.pid);
      lane.job = lane.worker?.job ?? lane.job;
      lane.samples.push(lane.worker ? sample(lane, dt, fresh.has(lane)) : EMPTY);
      if (lane.samples.length > LANE_SAMPLES) lane.samples.shift();
    }
  }

  #add() {
    this.made += 1;
    const lane = { at: this.made, pid: null, worker: null, job: null, cpuS: 0, samples: [], goneAt: null };
    this.lanes.push(lane);
    return lane;
  }

  /** Most inputs in flight in one worker, over everything shown. */
  peak() {
    let peak = 1;
    for (const lane of this.lanes) for (const { inFlight } of lane.samples) peak = Math.max(peak, inFlight);
    return peak;
  }
}

/** @param {Lane} lane @param {number} dt @param {boolean} replaced @returns {Sample} */
function sample(lane, dt, replaced) {
  const { in_flight: inFlight, job, cpu_s: cpuS } = lane.worker;
  const cpu = Math.min(Math.max((cpuS - lane.cpuS) / dt, 0), 1);
  lane.cpuS = cpuS;
  return { inFlight, job, cpu, replaced };
}
