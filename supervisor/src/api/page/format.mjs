/**
 * Formats numbers, durations and times for people. Everything here is pure.
 */

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const three = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });
const share = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const moment = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** Stands for a missing value. */
export const NOTHING = "–";

/** @param {number} value */
export const count = (value) => whole.format(value);

/** `1,234` or, from 100,000 on, `123K`. @param {number} value */
export const shortCount = (value) => value < 1e5 ? whole.format(value) : compact.format(value);

/** A number per second. @param {number} value */
export const rate = (value) => value >= 100 ? shortCount(value) : three.format(value);

/** `part` of `all` in percent: tenths below 10 %, and 100 % only when complete. @param {number} part @param {number} all */
export function percent(part, all) {
  const whole = all > 0 ? Math.min(part / all, 1) : 0;
  const steps = whole < 0.1 ? 1000 : 100;
  return share.format(Math.floor(whole * steps) / steps);
}

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];

/** @param {number} value */
export function bytes(value) {
  let unit = 0;
  while (value >= 1023.5 && unit < BYTES.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${three.format(value)} ${BYTES[unit]}`;
}

/** A short duration, to three digits. @param {number} ms */
export function millis(ms) {
  if (ms >= 999.5) return seconds(ms / 1e3);
  return ms >= 0.9995 || ms === 0 ? `${three.format(ms)} ms` : `${three.format(ms * 1e3)} µs`;
}

/** A duration of any length: `0.25 s`, `41 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. @param {number} value */
export function seconds(value) {
  if (value < 9.95) return `${three.format(Math.round(value * 100) / 100)} s`;
  const s = Math.round(value);
  if (s < 60) return `${s} s`;
  if (s < 3600) return pair(s, 60, "min", 1, "s");
  if (s < 86400) return pair(s, 3600, "h", 60, "min");
  return pair(s, 86400, "d", 3600, "h");
}

/**
 * @param {number} s @param {number} large @param {string} largeName
 * @param {number} small @param {string} smallName
 */
function pair(s, large, largeName, small, smallName) {
  const rest = Math.floor(s % large / small);
  return `${count(Math.floor(s / large))} ${largeName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

/** A time of day. @param {Date | number} time */
export const timeOfDay = (time) => clock.format(time);

/** An RFC 3339 time with its day, in the reader's time zone. @param {string | null} time */
export const dateTime = (time) => time ? moment.format(new Date(time)) : NOTHING;

/** `1 worker`, `2 workers`. @param {number} number @param {string} one @param {string} [many] */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
