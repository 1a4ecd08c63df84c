/**
 * Creates and changes elements. Text is always set as text: nothing on this
 * page is parsed as HTML, whatever a record contains.
 */

/**
 * @param {string} name
 * @param {Record<string, any>} [properties] properties of the element; names with a dash, and `role`, are attributes
 * @param {...(Node | string | null)} children
 * @returns {any}
 */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "for") element.setAttribute("for", value);
    else if (key.includes("-") || key === "role") setAttribute(element, key, value);
    else /** @type {any} */ (element)[key] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Sets a text only if it differs, so that an unchanged text is neither announced nor laid out again. @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** `null` removes the attribute. @param {Element} element @param {string} name @param {string | null} value */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** @param {HTMLElement} element @param {boolean} shown */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Returns the element with this id. @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Keeps children in step with a list: one per item, created once, identified by key, in order.
 *
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string | number} keyOf
 * @param {(item: T) => { element: Element, update: (item: T) => void, gone?: () => void }} build
 */
export function follow(parent, items, keyOf, build) {
  /** @type {Map<string | number, any>} */
  const rows = /** @type {any} */ (parent).rowsByKey ??= new Map();
  const wanted = new Set(items.map(keyOf));
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue;
    row.gone?.();
    row.element.remove();
    rows.delete(key);
  }
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  let next = parent.firstElementChild;
  for (const item of items) {
    let row = rows.get(keyOf(item));
    if (!row) rows.set(keyOf(item), row = build(item));
    row.update(item);
    if (row.element === next) next = row.element.nextElementSibling;
    else parent.insertBefore(row.element, next);
  }
  // Moving an element takes the focus away from it.
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

/**
 * Limits calls to one per frame, with a pause in between.
 * @param {() => void} draw @param {number} [pauseMs] from one call to the next
 */
export function everyFrame(draw, pauseMs = 0) {
  let asked = false;
  let drawnAt = -Infinity;
  const frame = () => requestAnimationFrame((now) => {
    asked = false;
    drawnAt = now;
    draw();
  });
  return () => {
    if (asked) return;
    asked = true;
    const wait = drawnAt + pauseMs - performance.now();
    if (wait > 0) setTimeout(frame, wait);
    else frame();
  };
}
