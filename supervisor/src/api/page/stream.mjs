/**
 * The connection to `/v1/events`, kept open while the page is open.
 */

import { Problem, events, lines, request } from "./api.mjs";

/** First and longest delay before reconnecting, in milliseconds. */
const WAIT_FIRST = 500;
const WAIT_MAX = 10_000;

/** The service sends a pulse twice a second and a comment after 15 s of silence. This long without either means that the connection is dead. */
const SILENCE_MAX = 20_000;

/**
 * @typedef {object} Listener
 * @property {() => void} opened a stream began; it starts with the jobs that have not ended
 * @property {(event: string, data: any) => void} heard
 * @property {(waitMs: number, problem: Error) => void} lost the connection is retried after `waitMs` milliseconds
 * @property {() => Promise<void>} refused the token is missing or wrong; resolves when there is a new one
 */

/**
 * Never returns.
 * @param {Listener} listener
 */
export async function listen(listener) {
  let wait = WAIT_FIRST;
  for (;;) {
    try {
      await once(listener, () => { wait = WAIT_FIRST; });
      throw new Error("the service closed the connection");
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        await listener.refused();
        continue;
      }
      // Add jitter, so that many open pages do not all reconnect at once.
      const pause = wait * (0.75 + Math.random() / 2);
      listener.lost(pause, /** @type {Error} */ (error));
      await passed(pause);
      wait = Math.min(wait * 2, WAIT_MAX);
    }
  }
}

/** @param {Listener} listener @param {() => void} alive */
async function once(listener, alive) {
  const abort = new AbortController();
  let silence = setTimeout(() => abort.abort(), SILENCE_MAX);
  try {
    const response = await request("/v1/events", { signal: abort.signal, headers: { Accept: "text/event-stream" } });
    listener.opened();
    for await (const { event, data } of events(lines(response))) {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MAX);
      alive();
      if (event) listener.heard(event, parsed(data));
    }
  } finally {
    clearTimeout(silence);
  }
}

/** @param {string} data */
function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

/** Resolves after `ms`, or as soon as the network is back. @param {number} ms @returns {Promise<void>} */
function passed(ms) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
  });
}
