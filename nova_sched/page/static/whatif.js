// Two sets of changes over the recorded requests, beside each other.
import {Failed, get, post} from "./api.js";
import {by, heads, make, number, say} from "./dom.js";

const SIDES = ["A", "B"], POLL_MS = 700, REASONS = 6;
const RATIOS = ["VCPU", "MEMORY_MB", "DISK_GB"];
const LABELS = {recorded: "as recorded", "re-run": "decided again", A: "A", B: "B"};
let weighers = [], isPolling = false;

const field = (side, kind, name, more = {}) => make("input", {id: `${side}-${kind}-${name}`, "data-side": side, "data-kind": kind, "data-name": name, ...more});

function sideForm(side) {
  const grid = (kind, names, more) => make("div", {class: "grid"}, names.map((name) => make("label", {}, name.replace(/Weigher$/, ""),
    field(side, kind, name, {type: "number", step: "any", "aria-label": `${side}: ${name}`, ...more}))));
  return make("fieldset", {}, make("legend", {}, side),
    make("h2", {}, "Multipliers of weighers"), grid("weighers", weighers, {}),
    make("h2", {}, "Allocation ratios"), grid("ratios", RATIOS, {min: "0"}),
    make("label", {class: "long"}, "Remove hosts (names or globs, with blanks between them)", field(side, "dropped", "", {maxlength: "2000", spellcheck: "false"})),
    make("label", {class: "long"}, "Add hosts (as in 4=host-3)", field(side, "added", "", {maxlength: "2000", spellcheck: "false"})),
    make("label", {class: "long"}, "Other options of the policy (JSON, as in {\"host_subset_size\": 3})", field(side, "options", "", {maxlength: "4000", spellcheck: "false"})));
}

function sideOf(side) {
  const found = {weighers: {}, ratios: {}, dropped: [], added: {}, options: {}};
  for (const input of document.querySelectorAll(`[data-side="${side}"]`)) {
    const value = input.value.trim(), kind = input.dataset.kind;
    if (!value) continue;
    if (kind === "weighers" || kind === "ratios") found[kind][input.dataset.name] = Number(value);
    else if (kind === "dropped") found.dropped = value.split(/\s+/);
    else if (kind === "added") {
      for (const word of value.split(/\s+/)) {
        const [, count, host] = /^(\d+)=(.+)$/.exec(word) ?? [];
        if (!host) throw new Failed(`${side}: ${word} is not N=HOST, such as 4=host-3.`, 0);
        found.added[host] = Number(count);
      }
    } else {
      try { found.options = JSON.parse(value); } catch { throw new Failed(`${side}: the other options are not valid JSON.`, 0); }
    }
  }
  return found;
}

const part = (amount, share) => `${number(amount)} (${(100 * share).toFixed(1)} %)`;

function rowsOf({columns, facts}) {
  const of = (title, value, isFigure = true) => make("tr", {}, make("th", {scope: "row"}, title), columns.map((name) => make("td", {class: isFigure ? "num" : ""}, value(facts[name], name))));
  const totals = {};
  for (const name of columns) for (const [reason, count] of Object.entries(facts[name].refused_for)) totals[reason] = (totals[reason] ?? 0) + count;
  const reasons = Object.keys(totals).sort((a, b) => totals[b] - totals[a]).slice(0, REASONS);
  const stranded = [...new Set(columns.flatMap((name) => Object.keys(facts[name].stranded)))].sort();
  return [
    of("instances asked", (one) => number(one.asked)), of("placed", (one) => number(one.placed)), of("built", (one) => number(one.built)),
    of("refused", (one) => number(one.refused)), ...reasons.map((reason) => of(`– ${reason}`, (one) => number(one.refused_for[reason] ?? 0))),
    of("hosts used", (one) => number(one.hosts_used)),
    of("VCPUs in use at the end", (one) => part(one.vcpus_used_at_end, one.vcpu_fill_at_end)), of("VCPU capacity at the end", (one) => number(one.vcpu_capacity_at_end)),
    ...stranded.map((name) => of(`stranded ${name}`, (one) => part(one.stranded[name]?.amount ?? 0, one.stranded[name]?.share ?? 0))),
    of("conflicts (claims refused)", (one) => number(one.conflicts)),
    of("placed on another host than", (one, name) => (name === "recorded" ? "" : `${number(one.placed_elsewhere)} (${name === "re-run" ? "recorded" : "decided again"})`)),
  ];
}

const NS = "http://www.w3.org/2000/svg";
const svg = (name, attributes = {}, ...children) => {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

function chart(title, result, index) {
  const width = 420, height = 190, left = 52, bottom = 20, top = 8;
  const all = result.columns.flatMap((name) => result.samples[name]);
  const most = Math.max(1, ...all.map((sample) => sample[index]));
  const first = Math.min(...all.map((sample) => sample[0])), last = Math.max(first + 1, ...all.map((sample) => sample[0]));
  const x = (at) => left + ((at - first) / (last - first)) * (width - left - 8);
  const y = (value) => height - bottom - (value / most) * (height - bottom - top);
  const drawn = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} over time; the table has the values at the end`},
    svg("path", {class: "axis", d: `M${left} ${top}V${height - bottom}H${width - 8}`}),
    svg("text", {x: left - 6, y: top + 8, "text-anchor": "end"}, number(most)), svg("text", {x: left - 6, y: height - bottom, "text-anchor": "end"}, "0"),
    svg("text", {x: left, y: height - 5}, new Date(first).toISOString().slice(11, 19)),
    svg("text", {x: width - 8, y: height - 5, "text-anchor": "end"}, new Date(last).toISOString().slice(11, 19)));
  result.columns.forEach((name, place) => {
    const line = result.samples[name].map((sample, number_) => `${number_ ? "L" : "M"}${x(sample[0]).toFixed(1)} ${y(sample[index]).toFixed(1)}`).join("");
    drawn.append(svg("path", {class: `line-${place}`, d: line}));
  });
  return make("figure", {}, make("figcaption", {}, title), drawn, make("div", {}, result.columns.map((name, place) => {
    const key = make("span", {class: "key"});
    key.append(svg("svg", {viewBox: "0 0 26 8"}, svg("path", {class: `line-${place}`, d: "M0 4H26"})), LABELS[name]);
    return key;
  })));
}

function show(job) {
  const isRunning = job.state === "running";
  by("what-if-start").disabled = isRunning;
  by("what-if-stop").disabled = !isRunning;
  by("what-if-progress").hidden = !isRunning;
  by("what-if-progress").value = job.progress;
  if (isRunning) say(by("what-if-state"), `Deciding: ${LABELS[job.label] ?? "reading the logs"}.`);
  else if (job.error) say(by("what-if-state"), job.error);
  else if (job.state === "done") say(by("what-if-state"), "Done.");
  const answer = by("what-if-answer");
  if (job.state !== "done") { if (job.state !== "none") answer.replaceChildren(); return; }
  const result = job.result, notes = [
    ...Object.entries(result.missing).map(([why, count]) => `${count} decisions could not be made: ${why}.`),
    ...result.lacking.map((cell) => `The log of ${cell} lacks its beginning, and the comparison too.`)];
  answer.replaceChildren(make("div", {class: "scroll"}, make("table", {class: "data"}, make("caption", {class: "hidden"}, "What if"),
    make("thead", {}, heads([""], ...result.columns.map((name) => [LABELS[name], "num"]))), make("tbody", {}, rowsOf(result)))),
  ...notes.map((note) => make("p", {class: "note"}, note)),
  make("div", {class: "charts"}, chart("VCPUs in use", result, 1), chart("Instances refused so far", result, 4)));
}

async function poll() {
  if (isPolling) return;
  isPolling = true;
  try {
    for (;;) {
      const job = await get("what-if");
      show(job);
      if (job.state !== "running") return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } catch (fault) {
    if (!(fault instanceof Failed)) throw fault;
    say(by("what-if-state"), fault.message);
  } finally { isPolling = false; }
}

export async function openWhatIf() {
  if (!by("sides").children.length) {
    try {
      weighers = (await get("what-if")).weighers;
    } catch (fault) {
      if (!(fault instanceof Failed)) throw fault;
      say(by("what-if-state"), fault.message);
      return;
    }
    by("sides").replaceChildren(...SIDES.map(sideForm));
  }
  poll();
}

export function startWhatIf() {
  by("what-if-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      show(await post("what-if", {sides: SIDES.map(sideOf)}));
      poll();
    } catch (fault) {
      if (!(fault instanceof Failed)) throw fault;
      say(by("what-if-state"), fault.message);
    }
  });
  by("what-if-stop").addEventListener("click", async () => {
    try { show(await post("what-if/stop")); } catch (fault) { if (!(fault instanceof Failed)) throw fault; }
  });
}
