// The view of all hosts: filters, the map or the table, totals.
import {by, heads, make, number, plural, say, share, timed} from "./dom.js";
import {fullness, hosts, onUse, use} from "./data.js";
import {describe, layOut, startMap, zoom} from "./map.js";

const ROWS = 100;
const chosen = {isTable: false, page: 0, shown: []};
let open = () => {};

const natural = new Intl.Collator("en", {numeric: true});
let order = {topology: -1, rank: []};

/** The places of all hosts by their names, as people count: host-9 before host-10. */
function byName() {
  if (order.topology !== hosts.topology) {
    const places = hosts.names.map((_, place) => place);
    places.sort((a, b) => natural.compare(hosts.names[a], hosts.names[b]));
    order = {topology: hosts.topology, rank: places};
  }
  return order.rank;
}

function options(id, names, all) {
  const select = by(id), before = select.value;
  const wanted = [["", all], ...names.map((name) => [name, name])];
  const now = [...select.options].map((option) => option.value);
  if (now.length === wanted.length && now.every((value, index) => value === wanted[index][0])) return;
  select.replaceChildren(...wanted.map(([value, text]) => make("option", {value}, text)));
  select.value = wanted.some(([value]) => value === before) ? before : "";
}

function fillFilters() {
  const select = by("by-class"), before = select.value;
  if ([...select.options].map((option) => option.value).join() !== hosts.classes.join()) {
    select.replaceChildren(...hosts.classes.map((name) => make("option", {value: name}, name)));
    if (hosts.classes.includes(before)) select.value = before;
  }
  options("by-cell", hosts.cells.filter((cell) => cell.hosts).map((cell) => cell.name), "all cells");
  options("by-zone", [...new Set(hosts.zones)].filter(Boolean).sort(natural.compare), "all zones");
  options("by-aggregate", [...new Set(hosts.aggregates.flat())].sort(natural.compare), "all aggregates");
  options("by-status", hosts.statuses, "any status");
}

function places() {
  const cell = by("by-cell").value, zone = by("by-zone").value, aggregate = by("by-aggregate").value;
  const status = hosts.statuses.indexOf(by("by-status").value), name = by("by-name").value.trim().toLowerCase();
  return byName().filter((place) => use.status[place] >= 0
    && (!cell || hosts.cellOf[place] === cell) && (!zone || hosts.zones[place] === zone)
    && (!aggregate || hosts.aggregates[place].includes(aggregate))
    && (status < 0 || use.status[place] === status)
    && (!name || hosts.names[place].toLowerCase().includes(name)));
}

function groupsOf(shown) {
  const kind = by("group-by").value;
  if (!kind) return [{label: plural(shown.length, "host"), places: shown}];
  const found = new Map();
  const only = by("by-aggregate").value;
  for (const place of shown) {
    const names = kind === "cell" ? [hosts.cellOf[place]] : kind === "zone" ? [hosts.zones[place]]
      : only ? [only] : hosts.aggregates[place].slice(0, 1);
    const name = names[0] || `in no ${kind}`;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(place);
  }
  return [...found].sort(([a], [b]) => natural.compare(a, b))
    .map(([label, members]) => ({label: `${label}: ${plural(members.length, "host")}`, places: members}));
}

function totals(shown, name) {
  let used = 0, capacity = 0, instances = 0;
  const statuses = hosts.statuses.map(() => 0);
  for (const place of shown) {
    used += use.used[name]?.[place] ?? 0;
    capacity += use.capacity[name]?.[place] ?? 0;
    instances += use.instances[place];
    statuses[use.status[place]] += 1;
  }
  const wrong = hosts.statuses.map((status, index) => [status, statuses[index]]).slice(1).filter(([, count]) => count);
  by("totals").replaceChildren(
    make("b", {}, plural(shown.length, "host")), wrong.length ? `, ${wrong.map(([status, count]) => `${number(count)} ${status}`).join(", ")}` : ", all up",
    `; ${name || "nothing"} `, make("b", {}, capacity ? share(used / capacity) : "-"), ` (${number(used)} of ${number(capacity)}); `,
    make("b", {}, plural(instances, "instance")));
}

function drawTable() {
  const shown = chosen.shown, pages = Math.max(1, Math.ceil(shown.length / ROWS));
  chosen.page = Math.max(0, Math.min(chosen.page, pages - 1));
  const rows = shown.slice(chosen.page * ROWS, (chosen.page + 1) * ROWS);
  const table = by("table");
  table.tHead.replaceChildren(heads(["host"], ["cell"], ["status"], ...hosts.classes.map((name) => [name, "num"]), ["instances", "num"], ["zone"]));
  table.tBodies[0].replaceChildren(...rows.map((place) => make("tr", {},
    make("th", {scope: "row"}, make("button", {type: "button", class: "plain", onclick: () => open(hosts.names[place])}, hosts.names[place])),
    make("td", {}, hosts.cellOf[place]), make("td", {}, hosts.statuses[use.status[place]]),
    hosts.classes.map((name) => make("td", {class: "num"}, use.capacity[name][place] || use.used[name][place]
      ? `${number(use.used[name][place])} of ${number(use.capacity[name][place])}` : "-")),
    make("td", {class: "num"}, use.instances[place]), make("td", {}, hosts.zones[place]))));
  say(by("page-where"), shown.length ? `${number(chosen.page * ROWS + 1)} to ${number(chosen.page * ROWS + rows.length)} of ${number(shown.length)}` : "no host");
  by("page-back").disabled = chosen.page === 0;
  by("page-on").disabled = chosen.page >= pages - 1;
}

export function render() {
  const began = performance.now();
  fillFilters();
  const name = by("by-class").value, shown = places();
  if (by("order-by").value === "full") shown.sort((a, b) => (fullness(b, name) ?? -1) - (fullness(a, name) ?? -1));
  chosen.shown = shown;
  totals(shown, name);
  if (chosen.isTable) drawTable();
  else layOut(groupsOf(shown), name);
  describe(shown.length, hosts.names.length);
  timed("render", began);
}

function showForm(isTable) {
  chosen.isTable = isTable;
  by("as-map").setAttribute("aria-pressed", String(!isTable));
  by("as-table").setAttribute("aria-pressed", String(isTable));
  for (const id of ["map-box", "legend", "map-help"]) by(id).hidden = isTable;
  by("table-box").hidden = !isTable;
  render();
}

export function startHosts(openHost) {
  open = openHost;
  startMap(openHost);
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("filters").addEventListener("input", () => { chosen.page = 0; render(); });
  by("as-map").addEventListener("click", () => showForm(false));
  by("as-table").addEventListener("click", () => showForm(true));
  by("zoom-in").addEventListener("click", () => zoom(1));
  by("zoom-out").addEventListener("click", () => zoom(-1));
  by("page-back").addEventListener("click", () => { chosen.page -= 1; drawTable(); });
  by("page-on").addEventListener("click", () => { chosen.page += 1; drawTable(); });
  onUse(() => { if (!by("view-hosts").hidden) render(); });
}
