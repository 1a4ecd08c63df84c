/** The dashboard of the real service, as somebody uses it. */

import { strict as assert } from "node:assert";
import { after, before, test } from "node:test";

import { DESK, PHONE, accessible, close, eventually, fits, launch, open, picture } from "./browser.mjs";
import { Service, startOrigin } from "./service.mjs";

let browser, origin, service;
before(async () => {
  [browser, origin] = await Promise.all([launch(), startOrigin()]);
  service = new Service();
  await service.start();
});
after(async () => {
  origin?.stop();
  await browser?.close();
  await service?.remove();
});

const site = (n) => Array.from({ length: n }, (_, i) => `${origin.url}/site/page/${i}`);
const slow = (n, seconds) => Array.from({ length: n }, (_, i) => `${origin.url}/delay/${seconds}?n=${i}`);

/** Fills the form in and sends it; answers with the row of the new job. */
async function submit(page, { name, urls, mode = "", perHost = "", select = [], more = "" }) {
  await page.click("#new-job");
  await page.fill("#f-name", name);
  await page.fill("#f-urls", urls.join("\n"));
  await page.selectOption("#f-mode", mode);
  await page.fill("#f-per-host", perHost);
  for (const [i, [field, selector]] of select.entries()) {
    if (i > 0) await page.click("#add-select");
    const row = page.locator("#selects > div").nth(i);
    await row.locator("input").nth(0).fill(field);
    await row.locator("input").nth(1).fill(selector);
  }
  if (more) {
    await page.click("#f-more summary");
    await page.fill("#f-document", more);
  }
  await page.click("#submit-send");
  const row = page.locator(".job", { hasText: name });
  await row.waitFor();
  return row;
}

const state = (row, wanted) => eventually(async () => {
  const is = await row.locator(".chip").textContent();
  return is === wanted || is;
}, `the job is ${wanted}`, 30_000);

/** Ends whatever is left of a job. */
async function cancel(page, row) {
  await row.getByRole("button", { name: /^Cancel/ }).click();
  await page.click("#confirm-yes");
  await state(row, "cancelled");
}

test("a job by the form: it is watched to its end, and its records are there", async () => {
  const page = await open(browser, service.url);
  const row = await submit(page, { name: "a catalogue", urls: site(500), perHost: "64", select: [["title", "title"], ["head", "h1"]] });
  await state(row, "done");
  assert.match(await row.locator(".facts").textContent(), /^500 of 500 · in /);
  await row.locator("summary", { hasText: "Last records (500)" }).click();
  await eventually(async () => await row.locator(".records code").count() === 20 || row.locator(".records").allTextContents(), "the last records");
  assert.match(await row.locator(".records code").last().textContent(), /"fields":\{"title":"\w/);
  const [download] = await Promise.all([page.waitForEvent("download"), row.locator(".download").click()]);
  assert.equal(download.suggestedFilename(), "a-catalogue-1.ndjson");
  await eventually(async () => (await page.textContent("#charts figure:first-child b")) !== "–", "there is throughput");
  await close(page);
});

test("a job is paused, goes on, and is cancelled", async () => {
  const page = await open(browser, service.url);
  const row = await submit(page, { name: "long", urls: slow(300, 1), mode: "concurrent", perHost: "4" });
  await state(row, "running");
  await row.getByRole("button", { name: /^Pause/ }).click();
  await state(row, "paused");
  await row.getByRole("button", { name: /^Resume/ }).click();
  await state(row, "running");
  await cancel(page, row);
  await row.getByRole("button", { name: /^Remove/ }).click();
  await page.click("#confirm-yes");
  await eventually(async () => await row.count() === 0, "removed");
  await close(page);
});

test("a quarantined input is shown with its evidence, and tried again in a job of its own", async () => {
  const page = await open(browser, service.url);
  const urls = [...site(20), `${origin.url}/site/page/7?poison=segfault`, `${origin.url}/status/500`];
  const row = await submit(page, { name: "with poison", urls, more: '{"retries": 0}' });
  await state(row, "done");
  const found = row.locator("details", { hasText: "Quarantined (1)" });
  await found.locator(".failure").waitFor();
  const text = await found.locator(".failure").textContent();
  for (const part of ["poison=segfault", "worker crash", "SIGSEGV", "Phase", "Memory"]) assert(text.includes(part), `${part}: ${text}`);
  await row.locator("details", { hasText: "Failed (1)" }).locator(".failure", { hasText: "/status/500" }).waitFor();
  await page.locator("#log li").first().waitFor();
  for (const size of [PHONE, DESK]) {
    await page.setViewportSize(size);
    await fits(page, `quarantine ${size.width}`);
    await accessible(page, `quarantine ${size.width}`);
    await picture(page, `service-quarantine-${size.width}`);
  }
  await row.getByRole("button", { name: /^Retry failed/ }).click();
  await eventually(async () => await page.locator(".job").count() === 3 || page.locator(".job").allTextContents(), "a job of the failed inputs");
  await state(page.locator(".job").first(), "done");
  await close(page);
});

/** What the lanes are called while a job runs, by mode; two workers. */
const PICTURES = [
  ["sequential", /^one input at a time$/],
  ["concurrent", /^up to \d+ inputs at once in one process$/],
  ["parallel", /^2 processes, one input each$/],
  ["both", /^2 processes, up to \d+ inputs at once$/],
];

test("the four modes look like what they are", async () => {
  const page = await open(browser, service.url);
  for (const [mode, wanted] of PICTURES) {
    const row = await submit(page, { name: `in ${mode}`, urls: slow(300, 2), mode, perHost: "16" });
    await eventually(async () => {
      const is = await page.textContent("#picture");
      return wanted.test(is) || is;
    }, mode, 30_000);
    await cancel(page, row);
    // Five seconds are looked at: the next picture is not to show this job.
    await eventually(async () => !await page.textContent("#picture").then((is) => /input/.test(is)), "idle");
  }
  await picture(page, "service-modes");
  await close(page);
});

test("the number of workers is changed", async () => {
  const page = await open(browser, service.url);
  await eventually(async () => await page.inputValue("#workers") === "2" || page.inputValue("#workers"), "two");
  await page.click("#more");
  await eventually(async () => {
    const { count } = await (await fetch(`${service.url}/v1/workers`)).json();
    return count === 3 || count;
  }, "three");
  await page.click("#fewer");
  await eventually(async () => (await (await fetch(`${service.url}/v1/workers`)).json()).count === 2, "two again");
  await close(page);
});

test("a refusal is shown at its field", async () => {
  const page = await open(browser, service.url);
  await page.click("#new-job");
  await page.fill("#f-urls", site(1)[0]);
  await page.locator("#selects input").nth(0).fill("t");
  await page.locator("#selects input").nth(1).fill("a::href");
  await page.click("#submit-send");
  await page.waitForSelector("#submit-problem:has-text('did you mean ::attr(href)?')");
  assert.equal(await page.locator("#selects input").first().getAttribute("aria-invalid"), "true");
  await close(page);
});

for (const signal of ["SIGTERM", "SIGKILL"]) {
  test(`${signal} and a new start while a job runs: the page comes back, the job goes on`, async () => {
    const page = await open(browser, service.url);
    const row = await submit(page, { name: `through ${signal}`, urls: slow(200, 0.25), mode: "concurrent", perHost: "8" });
    await state(row, "running");
    await eventually(async () => Number.parseInt(await row.locator(".facts").textContent(), 10) > 0, "some are done");
    await service.end(signal);
    await page.waitForSelector("#connection:has-text('trying again')");
    await service.start();
    await page.waitForSelector("#connection:has-text('Live')");
    await state(row, "done");
    assert.match(await row.locator(".facts").textContent(), /^200 of 200 /);
    page.wrong = page.wrong.filter((text) => !/ERR_/.test(text));
    await close(page);
  });
}
