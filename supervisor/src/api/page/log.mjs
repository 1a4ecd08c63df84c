/**
 * The messages of the service since the page was opened: the newest lines, announced politely.
 */

import { byId, make, show } from "./dom.mjs";
import * as format from "./format.mjs";

/** Number of lines kept. */
const LINES_MAX = 200;

/** @param {number | null} job @param {string} message */
export function say(job, message) {
  const list = byId("log");
  const box = byId("log-scroll");
  // A user who has scrolled up is reading: keep the position.
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
  const now = new Date();
  list.append(make("li", {}, make("time", { dateTime: now.toISOString() }, format.timeOfDay(now)),
    job === null ? null : make("span", { className: "soft" }, `job ${job}`), make("span", { className: "what" }, message)));
  while (list.children.length > LINES_MAX) list.firstElementChild.remove();
  show(box, true);
  show(byId("no-log"), false);
  if (atEnd) box.scrollTop = box.scrollHeight;
}
