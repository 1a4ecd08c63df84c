/**
 * The control for the number of workers.
 */

import { postJson } from "./api.mjs";
import { byId } from "./dom.mjs";

/** How long to wait for another press, so that five presses make one request. */
const SETTLE_MS = 400;

/** @param {(error: Error) => void} failed */
export function scaleControl(failed) {
  const input = byId("workers");
  let wanted = 0;
  let timer = 0;

  /** @param {number | "auto"} count */
  async function send(count) {
    try {
      const answer = await (await postJson("/v1/workers", { count })).json();
      input.value = String(answer.count);
    } catch (error) {
      failed(/** @type {Error} */ (error));
    } finally {
      wanted = 0;
    }
  }

  /** @param {number} count */
  function want(count) {
    wanted = Math.max(Math.round(count), 1);
    input.value = String(wanted);
    clearTimeout(timer);
    timer = setTimeout(send, SETTLE_MS, wanted);
  }

  byId("fewer").addEventListener("click", () => want(Number(input.value) - 1));
  byId("more").addEventListener("click", () => want(Number(input.value) + 1));
  byId("auto").addEventListener("click", () => send("auto"));
  byId("scale").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    want(Number(input.value) || 1);
  });
  input.addEventListener("change", () => want(Number(input.value) || 1));

  /** Shows the current number, unless the user is changing it. @param {number} count */
  return (count) => {
    if (!wanted && document.activeElement !== input) input.value = String(count);
  };
}
