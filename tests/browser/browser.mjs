/**
 * A headless Chromium with a fresh profile, and pages that note everything
 * that must not happen: errors, refusals of the policy, requests to others.
 */

import { strict as assert } from "node:assert";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

/** Where `run` has installed the modules and where screenshots go. */
const directory = process.env.BROWSER_DIR;
assert(directory, "BROWSER_DIR is not set: tests/browser/run sets it");
const require = createRequire(path.join(directory, "package.json"));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");

const FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** The sizes that must work. */
export const PHONE = { width: 375, height: 812 };
export const DESK = { width: 1440, height: 900 };

export function launch() {
  // Chromium's own sandbox does not start as root.
  const root = process.getuid() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [...FLAGS, ...root] });
}

/**
 * @param {any} browser
 * @param {string} url
 * @param {{ size?: { width: number, height: number }, dark?: boolean, until?: string }} [options]
 */
export async function open(browser, url, { size = DESK, dark = false, until = "live" } = {}) {
  const context = await browser.newContext({ viewport: size, colorScheme: dark ? "dark" : "light", locale: "en-GB", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.requested = new Set();
  page.wrong = [];
  context.on("request", (request) => page.requested.add(new URL(request.url()).origin));
  page.on("pageerror", (error) => page.wrong.push(error.stack));
  // What the browser says of answers that are no success is no error of the page.
  page.on("console", (message) => message.type() === "error" && !/Failed to load resource/.test(message.text()) && page.wrong.push(message.text()));
  page.setDefaultTimeout(15_000);
  await page.goto(url);
  await page.waitForSelector(`html[data-connection="${until}"]`, { state: "attached" });
  return page;
}

/** Closes a page, and asserts what holds for every page. */
export async function close(page) {
  const { origin } = new URL(page.url());
  assert.deepEqual(page.wrong, []);
  assert.deepEqual([...page.requested].filter((each) => each !== origin && !each.startsWith("null")), [], "requests to others");
  await page.context().close();
}

/** No violation that axe calls serious or critical. */
export async function accessible(page, what) {
  // By the debugger's protocol: the page's policy allows no script but its own.
  await page.evaluate((await import("node:fs")).readFileSync(axe, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  assert.deepEqual(serious.map(({ id, nodes }) => [id, ...nodes.map((node) => `${node.html} ${node.failureSummary}`)]), [], what);
}

/** Nothing is wider than the window. */
export async function fits(page, what) {
  const over = await page.evaluate(() => {
    const wide = [...document.querySelectorAll("body *")].filter((element) => {
      const { right, width } = element.getBoundingClientRect();
      return width > 1 && right > innerWidth + 0.5 && !element.closest(".scroll, pre, .records, .unseen, .plot");
    });
    return [document.documentElement.scrollWidth - innerWidth, ...wide.map((element) => element.outerHTML.slice(0, 200))];
  });
  assert.deepEqual(over, [0], what);
}

/** Keeps a picture of the whole page, for people. */
export async function picture(page, name) {
  mkdirSync(path.join(directory, "shots"), { recursive: true });
  await page.screenshot({ path: path.join(directory, "shots", `${name}.png`), fullPage: true });
}

/** Asks until it is true. Says what was there instead. */
export async function eventually(ask, what, ms = 15_000) {
  const deadline = performance.now() + ms;
  let last;
  do {
    last = await ask();
    if (last === true) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (performance.now() < deadline);
  assert.fail(`${what}: ${JSON.stringify(last)}`);
}
