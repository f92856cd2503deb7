// The search: hosts by a part of their name, or the id of an instance or request.
import {Failed, get} from "./api.js";
import {by, latest, make} from "./dom.js";

const WAIT_MS = 120;
let found = [], chosen = -1, timer = null;

const isId = (text) => /^(req-)?[0-9a-f]{8}[0-9a-f-]*$/i.test(text);

function close() {
  by("search-found").hidden = true;
  by("search-text").setAttribute("aria-expanded", "false");
  by("search-text").removeAttribute("aria-activedescendant");
  chosen = -1;
}

function choose(index) {
  const items = [...by("search-found").children];
  chosen = items.length ? (index + items.length) % items.length : -1;
  items.forEach((item, place) => item.setAttribute("aria-selected", String(place === chosen)));
  if (chosen >= 0) {
    by("search-text").setAttribute("aria-activedescendant", items[chosen].id);
    items[chosen].scrollIntoView({block: "nearest"});
  }
}

function go(hash) {
  close();
  by("search-text").blur();
  if (location.hash === hash) dispatchEvent(new HashChangeEvent("hashchange")); else location.hash = hash;
}

function show(text, answer) {
  found = [
    ...(answer.may_be_id && (isId(text) || !answer.hosts.length) ? [[`Why: ${text}`, `#/why/${encodeURIComponent(text)}`]] : []),
    ...answer.hosts.map((name) => [name, `#/host/${encodeURIComponent(name)}`]),
  ];
  const list = by("search-found");
  list.replaceChildren(...found.map(([name, hash], place) => make("li", {role: "option", id: `found-${place}`, "aria-selected": "false",
    onmousedown: (event) => { event.preventDefault(); go(hash); }}, name)));
  if (!found.length) list.replaceChildren(make("li", {role: "option", "aria-selected": "false", "aria-disabled": "true"}, "no host has this name; an id has 8 characters or more"));
  list.hidden = false;
  by("search-text").setAttribute("aria-expanded", "true");
  choose(0);
}

const look = latest(async (text) => {
  try {
    const answer = await get("search", {q: text});
    if (by("search-text").value.trim() === text && document.activeElement === by("search-text")) show(text, answer);
  } catch (fault) {
    if (!(fault instanceof Failed)) throw fault;
  }
});

export function startSearch() {
  const field = by("search-text");
  field.addEventListener("input", () => {
    clearTimeout(timer);
    const text = field.value.trim();
    if (text) timer = setTimeout(() => look(text), WAIT_MS); else close();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && !by("search-found").hidden) { choose(chosen + 1); event.preventDefault(); }
    else if (event.key === "ArrowUp" && !by("search-found").hidden) { choose(chosen - 1); event.preventDefault(); }
    else if (event.key === "Escape") close();
  });
  field.addEventListener("blur", close);
  by("search").addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(timer);
    const text = field.value.trim();
    if (!text) return;
    if (!by("search-found").hidden && found[chosen]) { go(found[chosen][1]); return; }
    if (isId(text)) { go(`#/why/${encodeURIComponent(text)}`); return; }
    try {
      const answer = await get("search", {q: text});
      if (answer.hosts.length) go(`#/host/${encodeURIComponent(answer.hosts[0])}`);
      else if (answer.may_be_id) go(`#/why/${encodeURIComponent(text)}`);
      else show(text, answer);
    } catch (fault) {
      if (!(fault instanceof Failed)) throw fault;
    }
  });
}
