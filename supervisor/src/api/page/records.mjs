/**
 * Records as elements. Records contain untrusted text: it is only ever shown as text, in full or shortened.
 */

import { make } from "./dom.mjs";
import * as format from "./format.mjs";

/** Characters shown of one record. */
const LINE_MAX = 600;

/** @param {unknown} text @param {number} max */
function cut(text, max) {
  const all = String(text ?? "");
  return all.length > max ? `${all.slice(0, max)}…` : all;
}

/** A URL as it is shown, without credentials. @param {string} url */
const withoutCredentials = (url) =>
  URL.canParse(url) ? url.replace(/\/\/[^/?#]*@/, "//") : url.replace(/^(.*?\/\/)?.*@/, "$1");

/** The input of a record. @param {any} record */
const inputOf = (record) =>
  cut(record.url === undefined ? (record.path ?? `input ${record.id}`) : withoutCredentials(record.url), LINE_MAX);

/** A record with an error: the input, the reason, and the evidence if a worker died. @param {any} record @returns {HTMLElement} */
export function failure(record) {
  const error = record.error ?? {};
  const kind = String(error.kind ?? "error").replaceAll("_", " ");
  const tries = format.plural(Number(record.attempts ?? 1), "attempt");
  return make("li", { className: "failure" },
    make("p", { className: "input" }, inputOf(record)),
    make("p", {}, make("b", { className: "bad" }, kind), ` ${cut(error.message, LINE_MAX)} `, make("small", {}, `${tries}, input ${record.id}`)),
    error.evidence ? evidence(error.evidence) : null);
}

/** @param {any} found */
function evidence(found) {
  const rows = [
    ["Signal", found.signal],
    ["Phase", found.phase],
    ["Memory", found.rss_bytes ? format.bytes(Number(found.rss_bytes)) : null],
  ].filter(([, value]) => value);
  return make("div", { className: "evidence" },
    make("dl", {}, ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value))))),
    found.stderr ? make("pre", { tabIndex: 0, role: "region", "aria-label": "The end of the worker's standard error" }, String(found.stderr)) : null);
}

/** Any record, as its JSON line. @param {any} record @returns {HTMLElement} */
export const recordLine = (record) => make("li", {}, make("code", {}, cut(JSON.stringify(record), LINE_MAX)));
