// The hosts: who they are (topology), and how full they are at the moment that is shown.
import {get, Failed} from "./api.js";
import {inOrder, latest, timed} from "./dom.js";
import {moment, momentFailed, momentKnown} from "./time.js";

export const hosts = {
  topology: 0, classes: [], statuses: [], names: [], cells: [], cellOf: [], zones: [], aggregates: [], places: new Map(),
};
export const use = {version: -1, status: [], instances: [], used: {}, capacity: {}, moment: null};
const listeners = new Set();
/** Call a function when the hosts or their use are others. */
export const onUse = (run) => listeners.add(run);

async function loadTopology() {
  const found = await get("hosts");
  const cellOf = [];
  for (const cell of found.cells) for (let count = 0; count < cell.hosts; count += 1) cellOf.push(cell.name);
  Object.assign(hosts, found, {cellOf, classes: inOrder(found.classes), places: new Map(found.names.map((name, place) => [name, place]))});
}

/** Load the use of all hosts at the shown moment. Of several calls only the last one counts. */
export const loadUse = latest(async () => {
  const asked = moment.text;
  try {
    const began = performance.now();
    let found = await get("use", {at: asked});
    if (found.topology !== hosts.topology) {
      await loadTopology();
      if (found.topology !== hosts.topology) found = await get("use", {at: asked});
    }
    if (asked !== moment.text && !moment.isMoving) return;
    Object.assign(use, found);
    momentKnown(found.moment);
    listeners.forEach((run) => run());
    timed("use", began);
  } catch (fault) {
    if (!(fault instanceof Failed)) throw fault;
    if (asked !== null) momentFailed(fault.message);
  }
});

/** The share of a class that is used on a host: null where it has none of it. */
export function fullness(place, name) {
  const capacity = use.capacity[name]?.[place] ?? 0, used = use.used[name]?.[place] ?? 0;
  if (!capacity) return used ? 2 : null;
  return used / capacity;
}

/** One line about a host: its name and numbers. */
export function lines(place) {
  const amounts = hosts.classes
    .filter((name) => use.capacity[name]?.[place] || use.used[name]?.[place])
    .map((name) => `${name} ${use.used[name][place]} of ${use.capacity[name][place]}`);
  const status = use.status[place] < 0 ? "not there" : hosts.statuses[use.status[place]];
  const count = use.instances[place];
  return [hosts.names[place], ...amounts, `${count} ${count === 1 ? "instance" : "instances"}, ${status}`];
}
