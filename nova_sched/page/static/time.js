// The moment that is shown: now, or one that the slider chose.
import {by, clock, say, oncePerFrame} from "./dom.js";

const STEPS = 1000;
const listeners = new Set();
let first = 0n, last = 0n;

/** text is what requests send as "at" (null: now); stamp is the time in words. */
export const moment = {text: null, stamp: null, isMoving: false};
/** Call a function with (isMoving) when the moment changes. */
export const onMoment = (run) => listeners.add(run);
const tell = (isMoving) => { moment.isMoving = isMoving; listeners.forEach((run) => run(isMoving)); };

const asMoment = (ns) => `@${ns / 1000000000n}.${String(ns % 1000000000n).padStart(9, "0")}`;
const asStamp = (ns) => {
  const at = new Date(Number(ns / 1000000n));
  return Number.isNaN(at.getTime()) ? "" : at.toISOString();
};
const nsOf = (step) => first + ((last - first) * BigInt(step)) / BigInt(STEPS);

function show() {
  const slider = by("time-slider"), text = by("time-text"), isNow = moment.text === null;
  by("time-now").setAttribute("aria-pressed", String(isNow));
  if (isNow) slider.value = STEPS;
  if (document.activeElement !== text) text.value = isNow ? asStamp(last) : moment.stamp || moment.text;
  slider.setAttribute("aria-valuetext", isNow ? "now" : moment.stamp || moment.text);
  slider.disabled = first === last;
}

/** How far the slider goes, in nanoseconds as text. */
export function setRange(firstNs, lastNs) {
  first = BigInt(firstNs || 0);
  last = BigInt(lastNs || 0);
  if (moment.text === null) show();
}

/** Show another moment: text as in "at", null for now. */
export function goTo(text, stamp = null) {
  moment.text = text;
  moment.stamp = stamp;
  say(by("time-error"), "");
  show();
  tell(false);
}

/** The server says which time a moment is. */
export function momentKnown(found) {
  if (moment.text === null || found.is_now) return;
  moment.stamp = found.time;
  const at = BigInt(found.at_ns);
  if (!moment.isMoving && last > first) {
    const step = Number(((at - first) * BigInt(STEPS)) / (last - first));
    by("time-slider").value = Math.max(0, Math.min(STEPS, step));
  }
  show();
}

export function momentFailed(text) {
  say(by("time-error"), text);
}

export function startTime() {
  const slider = by("time-slider");
  const move = oncePerFrame((step) => {
    const ns = nsOf(step);
    moment.text = asMoment(ns);
    moment.stamp = asStamp(ns);
    say(by("time-error"), "");
    show();
    tell(true);
  });
  slider.addEventListener("input", () => move(Number(slider.value)));
  slider.addEventListener("change", () => {
    const ns = nsOf(Number(slider.value));
    goTo(asMoment(ns), asStamp(ns));
  });
  by("time-now").addEventListener("click", () => goTo(null));
  by("time-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = by("time-text").value.trim();
    goTo(text || null);
  });
}

/** A link to a position of a log: it shows the cloud as it was there. */
export function positionLink(make, cell, position, stamp) {
  return make("button", {
    type: "button", class: "plain mono", title: `Show the cloud at ${cell} ${position}`,
    onclick: () => {
      goTo(`${cell}:${position}`, stamp || null);
      if (by("time").hidden) location.hash = "#/hosts";
    },
  }, `${cell} ${position}${stamp ? ` (${clock(stamp)})` : ""}`);
}
