// Helpers for the document. Text from the logs is set as text, never as markup.

/** Make an element: make("td", {class: "num"}, "text", child, ...). A property that begins with "on" is a listener. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (value === true) element.setAttribute(key, "");
    else element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map((child) =>
    child instanceof Node ? child : String(child)));
  return element;
}

export const by = (id) => document.getElementById(id);

/** Set the text of an element, if it is another one: a screen reader is not told twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  if (element.matches(".faults, [role=alert]")) element.hidden = !text;
}

/** The time of day of a stamp of the server (2026-11-29T12:10:30.692Z). */
export const clock = (stamp) => (stamp && stamp.length > 12 ? stamp.slice(11, 23) : "-");
export const day = (stamp) => (stamp && stamp.length > 12 ? `${stamp.slice(0, 10)} ${stamp.slice(11, 23)}` : "-");

const numbers = new Intl.NumberFormat("en");
export const number = (value) => numbers.format(value);
export const share = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** A row of a table head. */
export const heads = (...names) => make("tr", {}, names.map(([text, kind]) => make("th", {scope: "col", class: kind}, text)));

/** The usual resource classes first. */
export function inOrder(classes) {
  const usual = ["VCPU", "PCPU", "MEMORY_MB", "DISK_GB"];
  const place = (name) => (usual.includes(name) ? usual.indexOf(name) : usual.length);
  return [...classes].sort((a, b) => place(a) - place(b) || (a < b ? -1 : a > b ? 1 : 0));
}

/** Note how long something took, for the benchmark; only the last time of each name is kept. */
export function timed(name, start) {
  performance.clearMeasures(name);
  performance.measure(name, {start, end: performance.now()});
}

/** Call a function at most once per frame of the screen, with its last arguments. */
export function oncePerFrame(run) {
  let waiting = null;
  return (...values) => {
    if (waiting === null) requestAnimationFrame(() => { const now = waiting; waiting = null; run(...now); });
    waiting = values;
  };
}

/** Only the last of several calls counts, and only one request is under way. */
export function latest(run) {
  let busy = false, next = null;
  const go = async (values) => {
    busy = true;
    try { await run(...values); } finally {
      busy = false;
      if (next) { const again = next; next = null; go(again); }
    }
  };
  return (...values) => { if (busy) next = values; else go(values); };
}
