/**
 * The style sheet's colours for drawing on a canvas, which cannot use CSS variables.
 */

/** Number of colours for jobs. Two jobs may share one; their names are shown too. */
const JOB_COLOURS = 8;

const dark = matchMedia("(prefers-color-scheme: dark)");

/** @type {Map<string, string>} */
let known = new Map();

/** @param {string} name as in `--name` */
export function colour(name) {
  let value = known.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    known.set(name, value);
  }
  return value;
}

/** The name of a job's colour. @param {number} job */
export const jobColour = (job) => `job-${job % JOB_COLOURS}`;

/** Calls `redraw` when the colour scheme changes. @param {() => void} redraw */
export function onNewColours(redraw) {
  dark.addEventListener("change", () => {
    known = new Map();
    redraw();
  });
}
