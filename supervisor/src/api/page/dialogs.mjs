/**
 * Questions that block the page, and notices about failed actions.
 */

import { keepToken } from "./api.mjs";
import { byId, setText, show } from "./dom.mjs";

/** How long a notice stays. It is in the log as well. */
const NOTICE_MS = 12_000;

/**
 * @param {{ title: string, text: string, yes: string, no: string }} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, yes, no }) {
  const dialog = byId("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  setText(byId("confirm-no"), no);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Asks for the token until there is one. @param {boolean} again whether the last one was wrong @returns {Promise<void>} */
export function askForToken(again) {
  const dialog = byId("ask-token");
  const form = byId("token-form");
  const input = byId("token");
  show(byId("token-problem"), again);
  setText(byId("token-problem"), again ? "The service rejected this token." : "");
  input.value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    // Without a token there is nothing to show, so the dialog cannot be cancelled.
    dialog.oncancel = (/** @type {Event} */ event) => event.preventDefault();
    form.onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      keepToken(input.value.trim());
      dialog.close();
      resolve();
    };
  });
}

let hiding = 0;

/** @param {string} text */
export function notice(text) {
  const element = byId("notice");
  show(element, true);
  setText(element, text);
  clearTimeout(hiding);
  hiding = setTimeout(() => show(element, false), NOTICE_MS);
}
