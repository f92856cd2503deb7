// Decisions and refusals: the last ones, and each new one as it happens. The lists are bounded.
import {get, Failed} from "./api.js";
import {by, clock, day, heads, latest, make, plural, say} from "./dom.js";
import {moment, positionLink} from "./time.js";

const KEPT = 200, BESIDE = 25, SAY_MS = 10_000;
const KINDS = {
  "chosen": "good", "no host": "bad", "request refused": "bad", "claim refused": "warn", "build failed": "bad",
  "claim expired": "warn", "write refused": "warn", "host": "",
};
const state = {live: [], shown: [], hidden: new Set(), isPaused: false, seesAll: true, counted: {chosen: 0, refused: 0}, saidAt: -Infinity};

function row(one, isShort) {
  const kind = make("span", {class: `kind ${KINDS[one.kind] ?? ""}`}, one.kind);
  const link = one.instance ? make("a", {href: `#/why/${encodeURIComponent(one.instance)}`, title: one.instance}, isShort ? one.instance.slice(0, 8) : one.instance) : "-";
  const host = one.host ? make("a", {href: `#/host/${encodeURIComponent(one.host)}`}, one.host) : "-";
  if (isShort) return make("li", {}, kind, ` ${clock(one.time)} `, one.instance ? link : "", one.host ? [" ", host] : "", `: ${one.text}`);
  return make("tr", {}, make("td", {class: "time"}, day(one.time)), make("td", {}, kind), make("td", {class: "id"}, link),
    state.seesAll ? make("td", {}, host) : null, make("td", {class: "text"}, one.text),
    state.seesAll ? make("td", {}, positionLink(make, one.cell, one.position)) : null);
}

export function renderHappenings() {
  const shown = state.shown.filter((one) => !state.hidden.has(one.kind));
  if (!by("view-decisions").hidden) {
    const table = by("decisions");
    const names = [["time"], ["what"], ["instance"], ...(state.seesAll ? [["host"]] : []), ["text"], ...(state.seesAll ? [["position"]] : [])];
    table.tHead.replaceChildren(heads(...names));
    table.tBodies[0].replaceChildren(...shown.slice().reverse().map((one) => row(one, false)));
  }
  if (!by("view-hosts").hidden) {
    let card = by("beside");
    if (!card) {
      card = make("section", {id: "beside", "aria-labelledby": "beside-head"}, make("h2", {id: "beside-head"}, "Decisions and refusals"), make("ul", {class: "plain", id: "beside-list"}));
      by("side").append(card);
    }
    const rows = shown.slice(-BESIDE).reverse().map((one) => row(one, true));
    by("beside-list").replaceChildren(...(rows.length ? rows : [make("li", {}, "none")]));
  }
}

/** New ones from the server, the oldest first. */
export function addHappenings(found, skipped) {
  if (skipped) state.live = [];
  state.live = [...state.live, ...found].slice(-KEPT);
  for (const one of found) state.counted[one.kind === "chosen" ? "chosen" : "refused"] += 1;
  if (moment.text !== null || state.isPaused) return;
  state.shown = state.live;
  if (found.length) renderHappenings();
  // A summary now and then: a screen reader is not told each decision.
  if (found.length && performance.now() - state.saidAt > SAY_MS) {
    state.saidAt = performance.now();
    say(by("decision-state"), `${plural(state.counted.chosen, "decision")} with a host and ${plural(state.counted.refused, "other event")} since the page was opened, the last at ${clock(found.at(-1).time)}.`);
  }
}

export const momentHappenings = latest(async () => {
  const asked = moment.text;
  if (asked === null) { state.shown = state.live; renderHappenings(); return; }
  try {
    const found = await get("happenings", {at: asked, most: 100});
    if (asked !== moment.text) return;
    state.shown = found.happenings;
    renderHappenings();
  } catch (fault) {
    if (!(fault instanceof Failed)) throw fault;
  }
});

export function startHappenings(seesAll) {
  state.seesAll = seesAll;
  const kinds = Object.keys(KINDS).filter((kind) => seesAll || !["host", "write refused", "request refused"].includes(kind));
  by("decision-filters").replaceChildren(...kinds.map((kind) => make("label", {class: "inline"},
    make("input", {type: "checkbox", checked: true, onchange: (event) => {
      if (event.target.checked) state.hidden.delete(kind); else state.hidden.add(kind);
      renderHappenings();
    }}), make("span", {class: `kind ${KINDS[kind]}`}, kind))),
  make("button", {type: "button", "aria-pressed": "false", onclick: (event) => {
    state.isPaused = !state.isPaused;
    event.target.setAttribute("aria-pressed", String(state.isPaused));
    momentHappenings();
  }}, "Pause"));
}
