// Everything of one host, beside the map.
import {Failed, get} from "./api.js";
import {by, clock, day, latest, make, number, plural} from "./dom.js";
import {select} from "./map.js";
import {moment, positionLink} from "./time.js";

let current = null;

const fact = (name, value) => (value === null || value === "" || value === undefined ? [] : [make("dt", {}, name), make("dd", {}, value)]);

function sums(providers) {
  const found = new Map();
  for (const provider of providers) {
    for (const one of provider.inventories) {
      const sum = found.get(one.resource_class) || {used: 0, capacity: 0};
      found.set(one.resource_class, {used: sum.used + one.used, capacity: sum.capacity + one.capacity});
    }
  }
  return [...found];
}

function show(found) {
  const card = make("section", {"aria-labelledby": "host-head", id: "host"},
    make("div", {class: "bar"}, make("h2", {id: "host-head", tabindex: "-1"}, found.host),
      make("button", {type: "button", id: "host-close", onclick: () => { location.hash = "#/hosts"; }}, "Close")),
    make("dl", {class: "facts"},
      fact("Status", found.reason ? `${found.status}: ${found.reason}` : found.status),
      fact("Cell", found.cell), fact("Zone", found.zone),
      fact("Aggregates", found.aggregates.map((one) => one.name).join(", ")),
      fact("Hypervisor", `${found.hypervisor.type}${found.hypervisor.version ? ` ${found.hypervisor.version}` : ""}`),
      fact("Consumers by", found.authority === "nova" ? "Nova" : "its agent"),
      fact("Failed builds", found.failed_builds || null), fact("I/O operations", found.num_io_ops || null),
      fact("At", day(found.moment.time))),
    make("h2", {}, "Capacity"),
    make("div", {class: "fill"}, sums(found.providers).map(([name, {used, capacity}]) => [
      make("span", {}, name),
      make("meter", {min: 0, max: Math.max(capacity, 1), value: Math.min(used, capacity), "aria-label": `${name}: ${used} of ${capacity}`}),
      make("span", {class: "num"}, `${number(used)} of ${number(capacity)}`)])),
    make("h2", {}, plural(found.instances.length, "instance")),
    found.instances.length ? make("div", {class: "scroll low", tabindex: "0", role: "region", "aria-label": "Instances"},
      make("table", {class: "data"}, make("tbody", {}, found.instances.slice(0, 200).map((one) => make("tr", {},
        make("td", {class: "id"}, make("a", {href: `#/why/${encodeURIComponent(one.instance)}`}, one.instance)),
        make("td", {}, one.state), make("td", {class: "mono"}, Object.entries(one.resources).map(([name, amount]) => `${amount} ${name}`).join(", "))))))) : make("p", {class: "note"}, "none"),
    make("h2", {}, "Last events"),
    found.events.length ? make("ul", {class: "plain"}, found.events.map((one) => make("li", {},
      `${clock(one.time)} ${one.event}${one.text ? `: ${one.text}` : ""} by ${one.by} `, positionLink(make, found.cell, one.position)))) : make("p", {class: "note"}, "none are kept"));
  return card;
}

const load = latest(async (name) => {
  let card;
  try {
    card = show(await get("host", {name, at: moment.text}));
  } catch (fault) {
    if (!(fault instanceof Failed)) throw fault;
    card = make("section", {id: "host"}, make("div", {class: "bar"}, make("h2", {id: "host-head", tabindex: "-1"}, name),
      make("button", {type: "button", onclick: () => { location.hash = "#/hosts"; }}, "Close")), make("p", {class: "error"}, fault.message));
  }
  if (name !== current) return;
  const before = by("host"), hadFocus = before && before.contains(document.activeElement);
  const scroll = before?.querySelector(".scroll")?.scrollTop ?? 0;
  if (before) before.replaceWith(card); else by("side").prepend(card);
  if (card.querySelector(".scroll")) card.querySelector(".scroll").scrollTop = scroll;
  if (hadFocus || document.documentElement.dataset.opened === name) by("host-head").focus({preventScroll: true});
  document.documentElement.dataset.opened = "";
});

/** Show a host; null closes it. */
export function showHost(name) {
  if (name === null) { current = null; by("host")?.remove(); return; }
  if (name !== current) document.documentElement.dataset.opened = name;
  current = name;
  select(name);
  load(name);
}

export const reloadHost = () => { if (current !== null) load(current); };
