/**
 * The form for a new job: builds a job document from its fields, and shows the
 * service's refusal at the field concerned.
 */

import { postJson, request } from "./api.mjs";
import { byId, make, setAttribute, setText, show } from "./dom.mjs";

/** Label of the file field, by command. */
const FILES = {
  fetch: "Or a list in a file (.txt, .csv, .jsonl, .parquet, .gz, .zst)",
  parse: "Saved pages (.html)",
  map: "Lines of JSON in a file (.jsonl)",
  csv: "Files (.csv, .tsv, .gz, .zst)",
};

/** More URLs than this are sent as a file: a document has a size limit, a list has none. */
const URLS_MAX = 1000;

/** @param {string} id */
const textLines = (id) => byId(id).value.split("\n").map((/** @type {string} */ line) => line.trim()).filter(Boolean);

const command = () => byId("submit-form").elements.command.value;

/** Reads the form's fields for this command into the document's keys. @returns {Record<string, any>} */
function fields() {
  /** @type {Record<string, () => any>} */
  const read = {
    name: () => byId("f-name").value.trim(),
    urls: () => textLines("f-urls"),
    program: () => textLines("f-program"),
    column: () => byId("f-column").value.trim(),
    select: () => selects(),
    "group-by": () => textLines("f-group"),
    agg: () => textLines("f-agg"),
    mode: () => byId("f-mode").value,
    workers: () => number("f-workers"),
    "per-host": () => number("f-per-host"),
    "blocked-if": () => textLines("f-blocked"),
    robots: () => byId("f-robots").value,
    priority: () => number("f-priority"),
  };
  /** @type {Record<string, any>} */
  const document = { command: command() };
  for (const [key, value] of Object.entries(read)) {
    const field = fieldOf(key);
    const given = field && !field.hidden ? value() : "";
    if (given !== "" && given.length !== 0) document[key] = given;
  }
  return document;
}

/** @param {string} id */
function number(id) {
  const { value } = byId(id);
  return value === "" ? "" : Number(value);
}

function selects() {
  return [...byId("selects").children].flatMap((row) => {
    const [name, selector] = [...row.querySelectorAll("input")].map((input) => input.value.trim());
    return name || selector ? [`${name}=${selector}`] : [];
  });
}

/** @param {string} key @returns {HTMLElement | null} */
const fieldOf = (key) => byId("submit-form").querySelector(`.field[data-key="${CSS.escape(key)}"]`);

/**
 * The whole document. The box with other flags comes last and overrides the fields.
 * @returns {Record<string, any>}
 */
function jobDocument() {
  const text = byId("f-document").value.trim();
  if (!text) return fields();
  const more = JSON.parse(text);
  if (more === null || typeof more !== "object" || Array.isArray(more)) throw new SyntaxError("not an object");
  return { ...fields(), ...more };
}

/** One submission keeps one key, so that sending it again after a broken connection does not create a second job. */
class Key {
  #content = "";
  #key = "";

  /** @param {string} content */
  of(content) {
    if (content !== this.#content) {
      this.#content = content;
      this.#key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return this.#key;
  }

  spent() {
    this.#content = "";
  }
}

/** @param {Record<string, any>} document @param {Key} key */
function send(document, key) {
  const files = [...byId("f-files").files];
  const names = files.map(({ name, size, lastModified }) => [name, size, lastModified]);
  const headers = { "Idempotency-Key": key.of(JSON.stringify([document, names])) };
  if (document.urls?.length > URLS_MAX) {
    files.unshift(new File([document.urls.join("\n")], "urls.txt"));
    delete document.urls;
  }
  if (!files.length) return postJson("/v1/jobs", document, headers);
  const form = new FormData();
  form.append("job", new Blob([JSON.stringify(document)], { type: "application/json" }));
  for (const file of files) form.append("input", file, file.name);
  return request("/v1/jobs", { method: "POST", body: form, headers });
}

/** Shows what is wrong: at the top, and at the field if the text names one. @param {string} text @param {string | null} key */
function refuse(text, key) {
  const box = byId("submit-problem");
  const field = key ? fieldOf(key) : fieldNamed(text);
  show(box, true);
  setText(box, text);
  const input = /** @type {HTMLElement | null | undefined} */ (field && !field.hidden ? field.querySelector("input, textarea, select") : null);
  if (input) {
    if (field instanceof HTMLDetailsElement) field.open = true;
    setAttribute(input, "aria-invalid", "true");
    setAttribute(input, "aria-describedby", "submit-problem");
    input.focus();
  } else {
    box.scrollIntoView({ block: "nearest" });
  }
}

/** The field that a problem is about: the first quoted word or flag in its text that names a field. @param {string} text */
function fieldNamed(text) {
  for (const [, quoted, flag] of text.matchAll(/["'`]([\w-]+)["'`]|--([\w-]+)/g)) {
    const field = fieldOf(quoted ?? flag);
    if (field) return field;
  }
  return null;
}

function forget() {
  show(byId("submit-problem"), false);
  for (const input of byId("submit-form").querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

function fitToCommand() {
  const chosen = /** @type {keyof typeof FILES} */ (command());
  for (const field of byId("submit-form").querySelectorAll("[data-for]")) show(field, field.dataset.for.split(" ").includes(chosen));
  setText(byId("f-files-label"), FILES[chosen]);
}

function addSelect() {
  const rows = byId("selects");
  const row = make("div", { className: "select-row" },
    make("input", { "aria-label": "Name of the field", placeholder: "title", autocomplete: "off" }),
    make("input", { "aria-label": "Selector", placeholder: "title, a::attr(href), …", autocomplete: "off", spellcheck: false }),
    make("button", { type: "button", "aria-label": "Remove this field", onclick: () => {
      row.remove();
      byId("add-select").focus();
    } }, "×"));
  rows.append(row);
  return row;
}

/** @param {(job: any) => void} taken called with the new job */
export function submitForm(taken) {
  const dialog = byId("submit");
  const form = byId("submit-form");
  const key = new Key();
  let busy = false;

  byId("new-job").addEventListener("click", () => {
    forget();
    dialog.showModal();
  });
  byId("submit-close").addEventListener("click", () => dialog.close());
  byId("add-select").addEventListener("click", () => addSelect().querySelector("input")?.focus());
  form.addEventListener("change", fitToCommand);
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (busy) return;
    forget();
    busy = true;
    setText(byId("submit-send"), "Submitting");
    try {
      const job = await (await send(jobDocument(), key)).json();
      key.spent();
      form.reset();
      byId("selects").replaceChildren(addSelect());
      fitToCommand();
      dialog.close();
      taken(job);
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      if (error instanceof SyntaxError) refuse(`The box with other flags is not a JSON object: ${message}`, "document");
      else refuse(error instanceof TypeError ? "Cannot reach the service; the form is kept." : message, null);
    } finally {
      busy = false;
      setText(byId("submit-send"), "Submit");
    }
  });
  addSelect();
  fitToCommand();
}
