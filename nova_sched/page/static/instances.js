// The instances of the project, or of all of them, at the moment that is shown.
import {Failed, get} from "./api.js";
import {by, day, heads, latest, make, number, plural, say} from "./dom.js";
import {moment} from "./time.js";

let seesAll = true;

export const loadInstances = latest(async () => {
  if (by("view-instances").hidden) return;
  try {
    const found = await get("instances", {begin: by("instances-begin").value.trim(), at: moment.text});
    const table = by("instances");
    table.tHead.replaceChildren(heads(["instance"], ["state"], ...(seesAll ? [["host"], ["cell"], ["project"]] : []), ["resources"]));
    table.tBodies[0].replaceChildren(...found.instances.map((one) => make("tr", {},
      make("td", {class: "id"}, make("a", {href: `#/why/${encodeURIComponent(one.instance)}`}, one.instance)), make("td", {}, one.state),
      seesAll ? [make("td", {}, one.host ? make("a", {href: `#/host/${encodeURIComponent(one.host)}`}, one.host) : "-"), make("td", {}, one.cell), make("td", {}, one.project ?? "-")] : null,
      make("td", {class: "mono"}, Object.entries(one.resources).map(([name, amount]) => `${number(amount)} ${name}`).join(", ")))));
    const more = found.count - found.instances.length;
    say(by("instances-state"), `${plural(found.count, "instance")} at ${day(found.moment.time)}${more ? `; the first ${found.instances.length} are shown` : ""}.`);
  } catch (fault) {
    if (!(fault instanceof Failed)) throw fault;
    say(by("instances-state"), fault.message);
  }
});

export function startInstances(all) {
  seesAll = all;
  by("instances-form").addEventListener("submit", (event) => { event.preventDefault(); loadInstances(); });
}
