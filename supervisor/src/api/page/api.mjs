/**
 * Talks to the service: requests, problem documents, the token, lines of JSON
 * and server-sent events. All use `fetch`, which can send the token.
 */

const TOKEN_KEY = "muster-token";

/** An error response, as described by its problem document. */
export class Problem extends Error {
  /** @param {number} status @param {string} title @param {string} detail */
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

/** @returns {Record<string, string>} */
function authorization() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

export const hasToken = () => sessionStorage.getItem(TOKEN_KEY) !== null;

/** Kept until the tab is closed. @param {string} token */
export const keepToken = (token) => sessionStorage.setItem(TOKEN_KEY, token);

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
export async function request(path, options = {}) {
  const headers = { ...authorization(), ...options.headers };
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  if (!response.ok) throw await problem(response);
  return response;
}

/** @param {Response} response */
async function problem(response) {
  const fallback = response.statusText || `status ${response.status}`;
  try {
    const told = await response.json();
    return new Problem(response.status, String(told.title ?? fallback), String(told.detail ?? ""));
  } catch {
    return new Problem(response.status, fallback, "");
  }
}

/** @param {string} path @param {RequestInit} [options] */
export const getJson = async (path, options) => (await request(path, options)).json();

/** @param {string} path @param {unknown} value @param {Record<string, string>} [headers] */
export const postJson = (path, value, headers = {}) =>
  request(path, { method: "POST", body: JSON.stringify(value), headers: { "Content-Type": "application/json", ...headers } });

/**
 * The lines of a body, as text.
 *
 * @param {Response} response
 * @returns {AsyncGenerator<string>} lines without their line ending
 */
export async function* lines(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop() ?? "";
      yield* parts;
    }
    if (rest) yield rest;
  } finally {
    // Close the connection if the caller stops early.
    reader.cancel().catch(() => {});
  }
}

/** Records from JSON lines; other lines are skipped. @param {string} path @param {AbortSignal} signal @returns {Promise<any[]>} */
export async function getRecords(path, signal) {
  const records = [];
  for await (const line of lines(await request(path, { signal }))) {
    try {
      records.push(JSON.parse(line));
    } catch {
      continue;
    }
  }
  return records;
}

/**
 * Parses a stream of lines as server-sent events.
 *
 * @param {AsyncIterable<string>} source
 * @returns {AsyncGenerator<{ event: string, data: string }>}
 */
export async function* events(source) {
  let event = "message";
  let data = [];
  for await (const raw of source) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line === "") {
      if (data.length || event !== "message") yield { event, data: data.join("\n") };
      event = "message";
      data = [];
      continue;
    }
    const colon = line.indexOf(":");
    // A comment shows that the connection is alive.
    if (colon === 0) yield { event: "", data: "" };
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") event = value;
    else if (name === "data") data.push(value);
  }
}
