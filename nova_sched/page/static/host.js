// Everything of one host, beside the map.
import {Failed, get} from "./api.js";
import {by, clock, day, inOrder, latest, make, number, plural} from "./dom.js";
import {hosts, lines, use} from "./data.js";
import {select} from "./map.js";
import {moment, positionLink} from "./time.js";

const MOST = 200;
let current = null, opened = null;

const fact = (name, value) => (value === null || value === "" || value === undefined ? [] : [make("dt", {}, name), make("dd", {}, value)]);

function sums(providers) {
  const found = new Map();
  for (const provider of providers) {
    for (const one of provider.inventories) {
      const sum = found.get(one.resource_class) || {used: 0, capacity: 0};
      found.set(one.resource_class, {used: sum.used + one.used, capacity: sum.capacity + one.capacity});
    }
  }
  return inOrder([...found.keys()]).map((name) => [name, found.get(name)]);
}

function show(found) {
  const card = make("section", {"aria-labelledby": "host-head", id: "host"},
    make("div", {class: "bar"}, make("h2", {id: "host-head", tabindex: "-1"}, found.host),
      make("button", {type: "button", id: "host-close", onclick: () => { location.hash = "#/hosts"; }}, "Close")),
    make("dl", {class: "facts"},
      fact("Status", found.reason ? `${found.status}: ${found.reason}` : found.status),
      fact("Cell", found.cell), fact("Zone", found.zone),
      fact("Aggregates", found.aggregates.map((one) => one.name).join(", ")),
      fact("Hypervisor", found.hypervisor ? `${found.hypervisor.type}${found.hypervisor.version ? ` ${found.hypervisor.version}` : ""}` : null),
      fact("Consumers by", found.authority ? (found.authority === "nova" ? "Nova" : "its agent") : null),
      fact("Failed builds", found.failed_builds || null), fact("I/O operations", found.num_io_ops || null),
      fact("At", day(found.moment.time))),
    make("h2", {}, "Capacity"),
    make("div", {class: "fill"}, (found.providers ? sums(found.providers) : inOrder(Object.keys(found.amounts)).map((name) => [name, found.amounts[name]])).map(([name, {used, capacity}]) => [
      make("span", {}, name),
      make("meter", {min: 0, max: Math.max(capacity, 1), value: Math.min(used, capacity), "aria-label": `${name}: ${used} of ${capacity}`}),
      make("span", {class: "num"}, `${number(used)} of ${number(capacity)}`)])),
    make("h2", {}, plural(found.instances.length, "instance")),
    found.instances.length ? make("ul", {class: "plain low", tabindex: "0", "aria-label": "Instances"},
      found.instances.slice(0, MOST).map((one) => make("li", {},
        make("a", {class: "mono", href: `#/why/${encodeURIComponent(one.instance)}`}, one.instance),
        make("br"), `${one.state} since ${clock(one.since)}: ${inOrder(Object.keys(one.resources)).map((name) => `${number(one.resources[name])} ${name}`).join(", ")}`))) : make("p", {class: "note"}, "none"),
    found.instances.length > MOST ? make("p", {class: "note"}, `the first ${MOST} are shown`) : null,
    make("h2", {}, "Last events"),
    found.events.length ? make("ul", {class: "plain"}, found.events.map((one) => make("li", {},
      `${clock(one.time)} ${one.event}${one.text ? `: ${one.text}` : ""} by ${one.by} `, positionLink(make, found.cell, one.position)))) : make("p", {class: "note"}, "none are kept"));
  return card;
}

/** What the map knows of a host, at once: a whole host of the past takes the server longer. */
function brief(name) {
  const place = hosts.places.get(name);
  const known = place === undefined || !use.status.length ? [name] : lines(place);
  return make("section", {id: "host", "aria-busy": "true"}, make("div", {class: "bar"}, make("h2", {id: "host-head", tabindex: "-1"}, name),
    make("button", {type: "button", onclick: () => { location.hash = "#/hosts"; }}, "Close")),
  make("ul", {class: "plain"}, known.slice(1).map((line) => make("li", {}, line))), make("p", {class: "note"}, "Reading the logs…"));
}

function put(card) {
  const before = by("host");
  if (before) before.replaceWith(card); else by("side").prepend(card);
}

const load = latest(async (name) => {
  let card;
  if (by("host")?.querySelector("#host-head").textContent !== name || moment.text !== null) put(brief(name));
  try {
    card = show(await get("host", {name, at: moment.text}));
  } catch (fault) {
    if (!(fault instanceof Failed)) throw fault;
    card = make("section", {id: "host"}, make("div", {class: "bar"}, make("h2", {id: "host-head", tabindex: "-1"}, name),
      make("button", {type: "button", onclick: () => { location.hash = "#/hosts"; }}, "Close")), make("p", {class: "error"}, fault.message));
  }
  if (name !== current) return;
  const before = by("host"), hadFocus = before && before.contains(document.activeElement);
  const scroll = before?.querySelector(".low")?.scrollTop ?? 0;
  put(card);
  if (card.querySelector(".low")) card.querySelector(".low").scrollTop = scroll;
  // Somebody who opened it with the keyboard goes on reading there; a page that was just loaded keeps its focus.
  if (hadFocus || (opened === name && document.activeElement !== document.body)) by("host-head").focus({preventScroll: true});
  opened = null;
});

/** Show a host; null closes it. */
export function showHost(name) {
  if (name === null) { current = null; by("host")?.remove(); return; }
  if (name !== current) opened = name;
  current = name;
  select(name);
  load(name);
}

export const reloadHost = () => { if (current !== null) load(current); };
