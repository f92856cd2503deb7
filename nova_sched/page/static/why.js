// Why a request went where it went, and why a host was not chosen.
import {Failed, get} from "./api.js";
import {by, day, heads, make, number, plural, say} from "./dom.js";
import {positionLink} from "./time.js";

let asked = 0, seesAll = true;

const hostLink = (name) => make("a", {href: `#/host/${encodeURIComponent(name)}`}, name);
const stampOf = (ns) => (ns === null || ns === undefined ? null : new Date(Number(ns) / 1e6).toISOString());
const table = (names, rows) => make("div", {class: "scroll"}, make("table", {class: "data"}, make("thead", {}, heads(...names)), make("tbody", {}, rows)));
const block = (title, ...parts) => make("section", {class: "block"}, make("h2", {}, title), parts);

function attemptRow(one) {
  const lost = one.lost_to ?? [];
  return make("tr", {}, make("td", {class: "num"}, one.attempt), make("td", {class: "time"}, day(one.time ?? stampOf(one.at_ns))),
    make("td", {}, one.scheduler ?? ""), make("td", {class: "text"}, one.said,
      lost.length ? make("ul", {class: "plain"}, lost.slice(-5).map((cause) => make("li", {}, `${cause.what}, by ${cause.producer ?? "?"} `, positionLink(make, cause.cell, cause.position)))) : null));
}

function reasonRow(one) {
  return make("tr", {}, make("td", {class: "num"}, number(one.hosts)), make("td", {}, one.reason), make("td", {}, one.filter),
    make("td", {}, one.nearest ? hostLink(one.nearest) : "-"), make("td", {class: "text"}, one.nearest_text ?? ""));
}

function verdictRow(one) {
  const mark = {pass: "good", refuse: "bad"}[one.verdict] ?? "";
  return make("tr", {}, make("td", {class: "verdict"}, make("span", {class: `kind ${mark}`}, one.verdict)), make("td", {}, one.filter),
    make("td", {class: "text"}, one.text ?? one.reason ?? ""),
    make("td", {}, one.cause ? [`${one.cause.what}${one.cause.producer ? `, by ${one.cause.producer}` : ""} `, positionLink(make, one.cause.cell, one.cause.position, stampOf(one.cause.at_ns))] : ""));
}

function whyNotForm(facts) {
  const answer = make("div", {"aria-live": "polite"});
  const field = make("input", {maxlength: "255", size: "24", required: true, spellcheck: "false", value: facts.reasons?.find((one) => one.nearest)?.nearest ?? ""});
  const form = make("form", {class: "bar"}, make("label", {}, "Host", field), make("button", {}, "Why not this host?"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.replaceChildren(make("p", {class: "note"}, "Making the decision again…"));
    try {
      const found = await get("why-not", {key: facts.request, instance: facts.instance, host: field.value.trim(), attempt: facts.attempt});
      const head = found.refused === null ? "passed all filters that are loaded here" : found.refused
        ? `refused for ${found.verdicts.filter((one) => one.verdict === "refuse").map((one) => `${one.reason} (${one.filter})`).join(", ")}`
        : found.standing ? `passed: rank ${found.standing.rank} of ${found.standing.of} with a score of ${found.standing.score.toFixed(3)}${found.standing.chosen && found.standing.chosen !== found.host ? `; ${found.standing.chosen} was chosen with ${found.standing.chosen_score === null ? "?" : found.standing.chosen_score.toFixed(3)}` : ""}` : "passed";
      const said = found.verdicts.filter((one) => one.verdict === "pass" || one.verdict === "refuse" || one.verdict === "not loaded");
      const rest = found.verdicts.filter((one) => !said.includes(one));
      answer.replaceChildren(make("p", {class: "answer-line"}, hostLink(found.host), `: ${head}`),
        table([["verdict"], ["filter"], ["compared"], ["caused by"]], said.map(verdictRow)),
        rest.length ? make("p", {class: "note"}, `Not asked: ${rest.map((one) => one.filter).join(", ")}`) : "");
    } catch (fault) {
      if (!(fault instanceof Failed)) throw fault;
      answer.replaceChildren(make("p", {class: "error"}, fault.message));
    }
  });
  return block("Why not a host", form, answer);
}

function decision(facts) {
  const parts = [make("p", {class: "answer-line"}, facts.summary),
    make("dl", {class: "facts block"}, [["Instance", make("span", {class: "mono"}, facts.instance)], ["Request", make("span", {class: "mono"}, facts.request)],
      ["Asked", facts.asked ?? "not known: the evidence cannot be read"], ["End", `${facts.end.code}: ${facts.end.text}`],
      ...(facts.filters?.length ? [["Refused by", facts.filters.join(", ")]] : []),
      ...Object.entries(facts.behind ?? {}).map(([cell, count]) => ["Behind", `the scheduler did not know of ${plural(count, "record")} of ${cell}`]),
      ...(facts.closed?.length ? [["Closed", `${facts.closed.join(", ")}: the log could not be read, so nothing was placed there`]] : [])]
      .map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    facts.fault ? make("p", {class: "error"}, facts.fault) : null];
  if (facts.hints?.length) parts.push(block("So", make("ul", {}, facts.hints.map((hint) => make("li", {}, hint)))));
  if (facts.reasons?.length) parts.push(block("Refused hosts", table([["hosts", "num"], ["reason"], ["filter"], ["nearest"], ["compared"]], facts.reasons.map(reasonRow))));
  if (facts.attempts?.length) parts.push(block("Attempts", table([["attempt", "num"], ["time"], ["scheduler"], ["result"]], facts.attempts.map(attemptRow))));
  if (seesAll) parts.push(whyNotForm(facts));
  return make("article", {class: "card block"}, parts);
}

function past(found) {
  return make("article", {class: "card block"}, make("p", {class: "answer-line"}, `${found.kind} ${found.uuid}`),
    make("p", {class: "note"}, found.now.length ? `now in ${found.now.map((one) => one.cell).join(", ")}` : "not there any more"),
    table([["time"], ["event"], ["by"], ["position"], ["result"]], found.changes.map((one) => make("tr", {},
      make("td", {class: "time"}, day(one.at)), make("td", {}, one.event), make("td", {}, one.producer),
      make("td", {}, positionLink(make, one.cell, one.position)),
      make("td", {class: "text"}, one.refused ? `refused: ${one.refused}` : [...one.changes, ...one.holds.map((held) => `${held.amount} ${held.resource_class} of ${held.name ?? held.provider}`)].join(", "))))));
}

/** Explain a request or an instance. */
export async function explain(key) {
  const mine = (asked += 1), answer = by("why-answer");
  by("why-key").value = key;
  answer.replaceChildren();
  if (!key) { say(by("why-state"), "Type the uuid of an instance or the id of a request, or choose one in the list of decisions."); return; }
  say(by("why-state"), "Reading the logs…");
  try {
    const found = await get("explain", {key});
    if (mine !== asked) return;
    answer.replaceChildren(...found.decisions.map(decision), ...found.history.map(past));
    say(by("why-state"), found.decisions.length > 1 ? `The request has ${plural(found.decisions.length, "instance")}.` : "");
  } catch (fault) {
    if (!(fault instanceof Failed)) throw fault;
    if (mine !== asked) return;
    answer.replaceChildren(make("p", {class: "error card"}, fault.message));
    say(by("why-state"), "");
  }
}

export function startWhy(all) {
  seesAll = all;
  by("why-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const hash = `#/why/${encodeURIComponent(by("why-key").value.trim())}`;
    if (location.hash === hash) explain(by("why-key").value.trim());
    else location.hash = hash;
  });
}
