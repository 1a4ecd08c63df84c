/** The dashboard before a double of the service, in states that the real one is not brought to quickly. */

import { strict as assert } from "node:assert";
import { after, before, test } from "node:test";

import { DESK, PHONE, accessible, close, eventually, fits, launch, open, picture } from "./browser.mjs";
import { Double, job } from "./double.mjs";
import { busy, crowd, finished, finishedRecords, hostile } from "./scenes.mjs";

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

/** A test with a double, which is closed whatever comes of it. */
const withDouble = (name, make, body) => test(name, async () => {
  const double = make();
  try {
    await body(double, await double.listen());
  } finally {
    await double.close();
  }
});

/** One job that has ended, one that waits. */
function quiet() {
  const double = new Double();
  double.put(finished(1), finishedRecords());
  double.put(job(2, { name: "waits" }));
  return double;
}

const SCENES = [["idle", () => new Double()], ["busy", busy], ["crowd", crowd], ["hostile", hostile]];

for (const [name, make] of SCENES) {
  withDouble(`${name}: fits and is accessible at both sizes, light and dark`, make, async (double, url) => {
    for (const size of [PHONE, DESK]) {
      for (const dark of [false, true]) {
        const page = await open(browser, url, { size, dark });
        if (name !== "idle") await page.waitForSelector("#lanes li b");
        const first = page.locator('.job[data-state="done"] .pick').first();
        if (double.jobs.size) await first.click();
        if (double.records.size) await page.waitForSelector(".failure");
        const what = `${name} ${size.width} ${dark ? "dark" : "light"}`;
        await fits(page, what);
        await accessible(page, what);
        assert.equal(await page.evaluate(() => document.getAnimations().length), 0, "little motion is wished for");
        await picture(page, what.replaceAll(" ", "-"));
        await close(page);
      }
    }
  });
}

withDouble("the dialogs fit and are accessible", quiet, async (double, url) => {
  for (const dark of [false, true]) {
    const page = await open(browser, url, { size: PHONE, dark });
    await page.click("#new-job");
    for (const command of ["csv", "map", "parse", "fetch"]) {
      await page.check(`input[name="command"][value="${command}"]`);
      await fits(page, command);
      await accessible(page, command);
    }
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Remove: nightly" }).click();
    await accessible(page, "confirm");
    await picture(page, `confirm-${dark}`);
    await page.getByRole("button", { name: "Keep it" }).click();
    assert.equal(double.asked.length, 0);
    await close(page);
  }
});

withDouble("hostile texts stay texts", hostile, async (double, url) => {
  const page = await open(browser, url);
  await page.locator(".pick").click();
  await page.waitForSelector(".failure pre");
  await page.waitForSelector("#log li");
  await page.locator("summary", { hasText: "Last records" }).click();
  await page.waitForSelector(".records code");
  const found = await page.evaluate(() => [globalThis.pwned, document.querySelectorAll("main img, main script, main svg, main [onerror], main [onload]").length]);
  assert.deepEqual(found, [undefined, 0]);
  assert((await page.textContent(".failure .input")).startsWith("<img src=x onerror="));
  await close(page);
});

withDouble("a job by the keyboard alone, from the form to its removal", quiet, async (double, url) => {
  const page = await open(browser, url);
  const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  await press("Tab");
  assert.equal(await focused(), "Skip to the jobs");
  await press("Tab", "Enter");
  await press("Tab");
  assert.equal(await focused(), "f-name");
  await page.keyboard.type("by keys");
  await press("Tab");
  await page.keyboard.type("http://127.0.0.1/1\nhttp://127.0.0.1/2");
  await press("Tab", "Tab", "Tab");
  await page.keyboard.type("title");
  await press("Tab");
  await page.keyboard.type("title::text");
  await press("Enter");
  await eventually(async () => await focused() === "job-3" || focused(), "the new job has the focus");
  const sent = JSON.parse(double.asked[0].body);
  assert.deepEqual(sent, { command: "fetch", name: "by keys", urls: ["http://127.0.0.1/1", "http://127.0.0.1/2"], select: ["title=title::text"] });
  assert.match(double.asked[0].headers["idempotency-key"], /^[0-9a-f]{32}$/);

  await press("Tab");
  assert.equal(await focused(), "Pause");
  await press("Enter");
  await eventually(async () => await focused() === "Resume" || focused(), "the button stays and changes");
  await press("Tab", "Enter");
  await page.waitForSelector("#confirm[open]");
  await press("Tab", "Enter");
  await eventually(async () => double.jobs.get(3).state === "cancelled" || double.jobs.get(3).state, "cancelled");
  await eventually(async () => await focused() === "Remove" || focused(), "the focus is where it was");
  await press("Enter");
  await page.waitForSelector("#confirm[open]");
  await press("Tab", "Enter");
  await eventually(async () => !double.jobs.has(3), "removed");
  await eventually(async () => (await focused()).startsWith("job-") || focused(), "the focus goes on in the list");
  await press("ArrowDown");
  assert.equal(await focused(), "job-1");
  await press("Enter");
  await page.waitForSelector("#details-1 .failure");
  await close(page);
});

withDouble("the proxies of a job are shown while it runs and when it has ended", quiet, async (double, url) => {
  const proxies = (count, state) => [...Array(count).keys()].map((n) => ({ proxy: `http://***@p${n % 2}:1`, requests: 1000 + n, ok: 999, faults: 0, refused: 1, state }));
  double.put(job(3, { state: "running", proxies: proxies(2, "good") }));
  const page = await open(browser, url);
  const rows = () => page.locator("#details-3 .proxies tbody tr").allTextContents();
  await page.click('.job[data-state="running"] .pick');
  await eventually(async () => (await rows()).join() === "http://***@p0:11,000999–1good,http://***@p1:11,001999–1good" || rows(), "two rows");
  assert.equal(await page.locator("#details-3 .proxies .soft").isVisible(), false);
  double.put(finished(3, { summary: { ...finished(3).summary, proxies: proxies(34, "resting") } }));
  await eventually(async () => (await rows()).length === 32 || rows(), "as many as fit");
  assert.equal(await page.locator("#details-3 .proxies .soft").textContent(), "2 more in the summary");
  assert.equal(await page.locator("#details-3 .proxies tr[data-paused]").count(), 32);
  await close(page);
});

withDouble("the arrow keys go through the time of a chart", busy, async (double, url) => {
  const page = await open(browser, url);
  const chart = page.locator("figure").first();
  const caption = () => chart.locator("figcaption").textContent();
  await eventually(async () => /\d,\d{3}$/.test(await caption()) || caption(), "two seconds are over");
  await chart.focus();
  await page.keyboard.press("ArrowLeft");
  await eventually(async () => /at \d\d:\d\d:\d\d$/.test(await caption()) || caption(), "the time that is looked at");
  await page.keyboard.press("Tab");
  await eventually(async () => !(await caption()).includes(" at ") || caption(), "now again");
  await close(page);
});

withDouble("a refusal stands on top and at its field", () => new Double(), async (double, url) => {
  const page = await open(browser, url);
  await page.click("#new-job");
  await page.fill("#f-urls", "http://127.0.0.1/");
  await page.fill("#f-workers", "65");
  await page.click("#submit-send");
  await page.waitForSelector("#submit-problem:has-text('64 is the most')");
  assert.equal(await page.getAttribute("#f-workers", "aria-invalid"), "true");
  await page.fill("#f-workers", "");
  await page.click("#f-more summary");
  await page.fill("#f-document", '{"slect": ["a=b"]}');
  await page.click("#submit-send");
  await page.waitForSelector('#submit-problem:has-text("did you mean")');
  await page.fill("#f-document", "{");
  await page.click("#submit-send");
  await page.waitForSelector("#submit-problem:has-text('not a JSON object')");
  assert.equal(await page.getAttribute("#f-document", "aria-invalid"), "true");
  await accessible(page, "refused");
  await page.fill("#f-document", '{"timeout": "5s", "workers": 3}');
  await page.setInputFiles("#f-files", [{ name: "list.txt", mimeType: "text/plain", buffer: Buffer.from("http://127.0.0.1/2\n") }]);
  await page.click("#submit-send");
  await page.waitForSelector("#job-1");
  const { body, headers } = double.asked.at(-1);
  assert.match(headers["content-type"], /^multipart\/form-data/);
  assert.match(body, /name="job"[^]*"timeout":"5s"[^]*name="input"; filename="list.txt"[^]*http:\/\/127.0.0.1\/2/);
  const keys = double.asked.map((each) => each.headers["idempotency-key"]);
  assert.equal(new Set(keys).size, keys.length, "another document has another key");
  await close(page);
});

withDouble("a long list of URLs goes as a file", () => new Double(), async (double, url) => {
  const page = await open(browser, url);
  await page.click("#new-job");
  await page.fill("#f-urls", Array.from({ length: 1001 }, (_, i) => `http://127.0.0.1/${i}`).join("\n"));
  await page.click("#submit-send");
  await page.waitForSelector("#job-1");
  const { body } = double.asked[0];
  assert.match(body, /name="job"[^]*\{"command":"fetch"\}[^]*filename="urls.txt"[^]*\nhttp:\/\/127.0.0.1\/1000\r\n--/);
  await close(page);
});

withDouble("what the service refuses to do is said", quiet, async (double, url) => {
  const page = await open(browser, url);
  await page.waitForSelector("#job-2");
  double.jobs.set(2, { ...double.jobs.get(2), state: "draining" });
  await page.getByRole("button", { name: "Pause: waits" }).click();
  await page.waitForSelector("#notice:has-text('job 2 is draining')");
  await page.getByRole("button", { name: "Retry failed: nightly" }).click();
  await page.waitForSelector("#job-3");
  await close(page);
});

withDouble("the number of workers", () => new Double(), async (double, url) => {
  const page = await open(browser, url);
  await eventually(async () => await page.inputValue("#workers") === "2" || page.inputValue("#workers"), "as the service says");
  for (let presses = 0; presses < 3; presses += 1) await page.click("#more");
  await eventually(async () => double.scaled === 5 || double.scaled, "five");
  assert.equal(double.asked.length, 1, "three presses are one request");
  await page.click("#auto");
  await eventually(async () => double.scaled === 2 || double.scaled, "auto");
  await close(page);
});

test("the token is asked for, and again if it is wrong", async () => {
  const double = new Double({ token: "open sesame" });
  double.put(finished(1), finishedRecords());
  const url = await double.listen();
  try {
    const page = await open(browser, url, { until: "refused" });
    await page.waitForSelector("#ask-token[open]");
    await accessible(page, "token");
    await page.fill("#token", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#token-problem:has-text('rejected')");
    await page.fill("#token", "open sesame");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#job-1");
    await page.click("#job-1");
    await page.waitForSelector(".failure");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(".download")]);
    assert.equal(download.suggestedFilename(), "nightly-1.ndjson");
    await close(page);
  } finally {
    await double.close();
  }
});

test("a service that goes away and comes back, with other jobs", async () => {
  const first = quiet();
  const url = await first.listen();
  const page = await open(browser, url);
  await page.waitForSelector("#job-1");
  await first.close();
  await page.waitForSelector("#connection:has-text('trying again')");
  await fits(page, "lost");
  await accessible(page, "lost");
  await picture(page, "lost");
  const second = new Double();
  second.put(job(2, { name: "waits", state: "running" }));
  second.put(job(5, { name: "new" }));
  await second.listen(first.port);
  try {
    await page.waitForSelector("#connection:has-text('Live')");
    await page.waitForSelector("#job-5");
    await eventually(async () => await page.locator("#job-1").count() === 0, "what was removed meanwhile is gone");
    page.wrong = page.wrong.filter((text) => !/ERR_|Failed to fetch/.test(text));
    await close(page);
  } finally {
    await second.close();
  }
});

withDouble("a thousand jobs and 64 workers: little in the page, little to do, nothing that grows", crowd, async (double, url) => {
  const page = await open(browser, url);
  await page.waitForSelector("#lanes li:nth-child(64)");
  await eventually(async () => await page.textContent("#job-range") === "1 to 25 of 1,000" || page.textContent("#job-range"), "a page of jobs");
  const debug = await page.context().newCDPSession(page);
  await debug.send("Performance.enable");
  const measure = async () => {
    const { metrics } = await debug.send("Performance.getMetrics");
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    return { nodes: await page.evaluate(() => document.querySelectorAll("*").length), busy: of("TaskDuration"), at: of("Timestamp") };
  };
  const from = await measure();
  const pulses = await page.evaluate(() => new Promise((resolve) => {
    let seen = 0;
    const watch = new MutationObserver(() => {
      seen += 1;
      if (seen === 8) resolve(seen);
    });
    watch.observe(document.getElementById("s-uptime"), { childList: true, characterData: true, subtree: true });
  }));
  const to = await measure();
  assert.equal(pulses, 8);
  assert(to.nodes < 5000, `${to.nodes} elements`);
  assert(to.nodes <= from.nodes + 20, `from ${from.nodes} to ${to.nodes} elements`);
  const share = (to.busy - from.busy) / (to.at - from.at);
  process.stdout.write(`# ${to.nodes} elements, main thread busy ${(share * 100).toFixed(1)} % of the time\n`);
  assert(share < 0.6, `the main thread is busy ${share} of the time`);
  await page.fill("#find", "crawl 7 done");
  await eventually(async () => /of 2\d\d$/.test(await page.textContent("#job-range")) || page.textContent("#job-range"), "found");
  await page.click("#older");
  await eventually(async () => (await page.textContent("#job-range")).startsWith("26 to 50") || page.textContent("#job-range"), "the next page");
  await page.selectOption("#states", "running draining");
  await page.waitForSelector("#no-jobs:has-text('No job matches')");
  await close(page);
});
