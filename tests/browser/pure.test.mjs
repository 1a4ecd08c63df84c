/** What the dashboard computes, without a browser. */

import { strict as assert } from "node:assert";
import { test } from "node:test";

const page = new URL("../../supervisor/src/api/page/", import.meta.url);
const { events, lines } = await import(new URL("api.mjs", page));
const { CHART_S, LANE_SAMPLES, Lanes, Seconds } = await import(new URL("history.mjs", page));
const { State } = await import(new URL("state.mjs", page));
const format = await import(new URL("format.mjs", page));
const { job } = await import("./double.mjs");

async function all(generator) {
  const found = [];
  for await (const each of generator) found.push(each);
  return found;
}

const sum = (ring) => ring.reduce((a, b) => a + b, 0);

test("lines are whole, wherever the network cuts", async () => {
  const bytes = new TextEncoder().encode("ä\nbc\n\nrest");
  for (let size = 1; size <= bytes.length; size += 1) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size));
    const body = new ReadableStream({ start(to) { chunks.forEach((chunk) => to.enqueue(chunk)); to.close(); } });
    assert.deepEqual(await all(lines(new Response(body))), ["ä", "bc", "", "rest"]);
  }
});

test("events are read as the standard says", async () => {
  const source = (async function* () {
    yield* [": hello", "event: job", "data: {", "data:}", "", "data: x\r", "\r", "event:lost", "", "id: 4", "retry: 5", "", "event: half"];
  })();
  assert.deepEqual(await all(events(source)), [
    { event: "", data: "" }, { event: "job", data: "{\n}" }, { event: "message", data: "x" }, { event: "lost", data: "" },
  ]);
});

test("what happened between two times is spread over their seconds, and nothing is lost", () => {
  const seconds = new Seconds();
  seconds.add(10_000, 10_000, 5, 1);
  seconds.add(10_500, 13_500, 300, 3);
  assert.deepEqual([10, 11, 12, 13].map((at) => Math.round(seconds.records[at % CHART_S])), [55, 100, 100, 50]);
  for (let to = 14_000; to < 60_000; to += 730) seconds.add(to - 730, to, 7, 0);
  assert.equal(Math.round(sum(seconds.records)), 5 + 300 + 64 * 7);
  const [times, records] = seconds.columns(seconds.records);
  assert.equal(times[0], 10);
  assert.equal(times.length, records.length);
});

test("seconds go back ten minutes and no further, and silence is zero", () => {
  const seconds = new Seconds();
  seconds.add(1_000, 1_000, 9, 9);
  seconds.sample(1_000, { p50: 1, p99: 2 });
  seconds.sample((CHART_S + 100) * 1e3, null);
  const [times, records, p99] = seconds.columns(seconds.records, seconds.p99);
  assert.equal(times.length, CHART_S - 1);
  assert.equal(sum(records), 0);
  assert(p99.every((value) => value === null));
});

const worker = (pid, change = {}) => ({ pid, state: "busy", job: 1, in_flight: 3, cpu_s: 0, ...change });

test("a process that is started for another has its lane, and the lane says so", () => {
  const lanes = new Lanes();
  lanes.pulse(0, [worker(1), worker(2)]);
  lanes.pulse(500, [worker(1, { cpu_s: 0.25 })]);
  lanes.pulse(1000, [worker(1, { cpu_s: 0.25 }), worker(3)]);
  assert.deepEqual(lanes.lanes.map((lane) => lane.pid), [1, 3]);
  assert.deepEqual(lanes.lanes[0].samples.map((sample) => sample.cpu), [0, 0.5, 0]);
  assert.deepEqual(lanes.lanes[1].samples.map(({ inFlight, replaced }) => [inFlight, replaced]), [[3, false], [0, false], [3, true]]);
});

test("a process of another job is nobody's replacement, and lanes go to those of their job", () => {
  const lanes = new Lanes();
  lanes.pulse(0, [worker(1), worker(2, { job: 2 })]);
  lanes.pulse(500, []);
  lanes.pulse(1000, [worker(3, { job: 2 }), worker(4, { job: 7 })]);
  assert.deepEqual(lanes.lanes.map(({ pid, samples }) => [pid, samples.at(-1).replaced]), [[4, false], [3, true]]);
});

test("lanes of workers that are gone for good go, and samples stay bounded", () => {
  const lanes = new Lanes();
  lanes.pulse(0, [worker(1), worker(2)]);
  for (let n = 1; n <= 3 * LANE_SAMPLES; n += 1) lanes.pulse(n * 500, [worker(2)]);
  assert.deepEqual(lanes.lanes.map((lane) => [lane.pid, lane.samples.length]), [[2, LANE_SAMPLES]]);
});

test("only what happens while we look counts as throughput", () => {
  const state = new State();
  const at = (id, done) => job(id, { state: "running", counts: { done } });
  state.opened();
  state.job(at(1, 5000), 1_000);
  state.listed([at(1, 4000), at(2, 7)]);
  assert.equal(state.jobs.get(1).counts.done, 5000, "an event is newer than the list");
  state.job(at(1, 5010), 2_000);
  state.job(at(3, 4), 2_000);
  assert.equal(Math.round(sum(state.seconds.records)), 14);
  state.opened();
  state.job(at(1, 9000), 60_000);
  assert.equal(Math.round(sum(state.seconds.records)), 14, "nobody knows when that happened");
  state.listed([at(1, 9000), at(3, 4)]);
  assert.deepEqual([...state.jobs.keys()], [1, 3]);
});

test("numbers as people read them", () => {
  const cases = [
    [format.bytes(0), "0 B"], [format.bytes(1023), "1,020 B"], [format.bytes(1024), "1 KiB"], [format.bytes(31457280), "30 MiB"],
    [format.millis(0.4), "400 µs"], [format.millis(9.14), "9.14 ms"], [format.millis(5000.2), "5 s"],
    [format.seconds(0), "0 s"], [format.seconds(59.4), "59 s"], [format.seconds(59.6), "1 min"], [format.seconds(3725), "1 h 2 min"], [format.seconds(90000), "1 d 1 h"],
    [format.percent(999_999, 1_000_000), "99%"], [format.percent(1, 1), "100%"], [format.percent(0, 0), "0%"], [format.percent(4, 1000), "0.4%"],
    [format.rate(5120.5), "5,121"], [format.rate(0.1234), "0.123"], [format.plural(1, "worker"), "1 worker"], [format.plural(0, "worker"), "0 workers"],
  ];
  for (const [is, should] of cases) assert.equal(is, should);
});
