// The page: who looks at it, which view is shown, and news from the server.
import {Failed, get, onLoginNeeded, post} from "./api.js";
import {by, clock, say} from "./dom.js";
import {hosts, loadUse} from "./data.js";
import {addHappenings, momentHappenings, renderHappenings, startHappenings} from "./happenings.js";
import {render, startHosts} from "./hosts.js";
import {reloadHost, showHost} from "./host.js";
import {loadInstances, startInstances} from "./instances.js";
import {startSearch} from "./search.js";
import {startTheme} from "./theme.js";
import {goTo, moment, onMoment, setRange, startTime} from "./time.js";
import {openWhatIf, startWhatIf} from "./whatif.js";
import {explain, startWhy} from "./why.js";

const VIEWS = ["login", "loading", "hosts", "decisions", "instances", "why", "what-if"];
const RETRY_MS = 3000, IDLE_MS = 2000, USE_MS = 1000;
const state = {session: null, hasLogin: false, isStarted: false, isReady: false, after: 0, version: 0, topology: -1, round: 0, usedAt: 0, isUseLate: false};

function show(view) {
  for (const name of VIEWS) by(`view-${name}`).hidden = name !== view;
  for (const link of by("views").querySelectorAll("a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  by("time").hidden = !["hosts", "decisions", "instances"].includes(view);
  document.title = `nova_sched: ${view.replace("-", " ")}`;
}

function route() {
  if (!state.session) { show("login"); return; }
  if (!state.isReady) { show("loading"); return; }
  const [view, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  let value = "";
  try { value = decodeURIComponent(rest.join("/")); } catch { /* a damaged address: as without a name */ }
  const all = state.session.sees_all;
  if (view === "host" && all && value) { show("hosts"); render(); showHost(value); renderHappenings(); return; }
  if (view === "decisions") { show("decisions"); renderHappenings(); return; }
  if (view === "instances") { show("instances"); loadInstances(); return; }
  if (view === "why") { show("why"); explain(value); return; }
  if (view === "what-if" && all) { show("what-if"); openWhatIf(); return; }
  if (!all) { show("decisions"); renderHappenings(); return; }
  show("hosts");
  showHost(null);
  render();
  renderHappenings();
}

function showSession() {
  const session = state.session;
  by("views").hidden = by("search").hidden = !session;
  by("search-text").placeholder = session?.sees_all ? "Host, instance or request" : "Instance or request";
  for (const link of by("views").querySelectorAll("[data-all]")) link.hidden = !session?.sees_all;
  by("who").hidden = by("logout").hidden = !(session && state.hasLogin);
  say(by("who"), session ? `${session.user}${session.project ? ` in ${session.project}` : ""}` : "");
}

function status(kind, text) {
  by("state").className = `state ${kind}`;
  say(by("state"), text);
}

function refreshUse() {
  // While many things happen, the map is loaded again once per second.
  if (moment.text !== null || document.hidden || !state.session?.sees_all || state.isUseLate) return;
  const wait = Math.max(0, USE_MS - (performance.now() - state.usedAt));
  state.isUseLate = true;
  setTimeout(() => {
    state.isUseLate = false;
    state.usedAt = performance.now();
    if (moment.text === null) { loadUse(); reloadHost(); loadInstances(); }
  }, wait);
}

function see(news) {
  say(by("faults"), (news.faults ?? []).map((fault) => (fault.cell ? `${fault.cell}: ${fault.text}` : fault.text)).join("\n")
    || (news.is_incomplete ? "A part of the cloud cannot be read now: what is shown is not everything." : ""));
  by("loading").value = news.progress;
  say(by("loading-text"), `${Math.floor(100 * news.progress)} % of the records are read.`);
  setRange(news.first_ns, news.last_ns);
  const isNew = news.version !== state.version || news.topology !== state.topology;
  Object.assign(state, {after: news.last, version: news.version, topology: news.topology});
  const wasReady = state.isReady;
  state.isReady = news.is_ready;
  if (!news.is_ready) {
    status("", "reading the logs");
    if (wasReady) route();
    return;
  }
  if (moment.text === null) status("live", `live, ${clock(news.now).slice(0, 8)} UTC`);
  if (!wasReady) {
    if (state.session.sees_all) loadUse();
    addHappenings(news.happenings, false);
    route();
    return;
  }
  addHappenings(news.happenings, news.skipped);
  if (isNew) refreshUse();
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Ask for news as long as the session lasts. Another round ends an earlier one. */
async function follow() {
  const mine = (state.round += 1);
  while (mine === state.round && state.session) {
    try {
      const news = await get("news", {after: state.after, version: state.version, wait: state.version ? 1 : null});
      if (mine !== state.round) return;
      see(news);
      if (!news.waited) await pause(IDLE_MS);
      else if (!news.is_ready) await pause(300);
    } catch (fault) {
      if (!(fault instanceof Failed)) throw fault;
      if (fault.code === 401 || mine !== state.round) return;
      status("bad", fault.code === 0 ? "not connected" : fault.message);
      await pause(Math.max(RETRY_MS, 1000 * (fault.seconds || 0)));
    }
  }
}

function begin() {
  showSession();
  if (!state.isStarted) {
    state.isStarted = true;
    const all = state.session.sees_all;
    startHosts((name) => { location.hash = `#/host/${encodeURIComponent(name)}`; });
    startHappenings(all);
    startInstances(all);
    startWhy(all);
    startSearch();
    startTime();
    startWhatIf();
    onMoment((isMoving) => {
      status(moment.text === null ? "live" : "past", moment.text === null ? "live" : "looking at the past");
      if (state.session?.sees_all) loadUse();
      if (!isMoving) { momentHappenings(); reloadHost(); loadInstances(); }
    });
    addEventListener("hashchange", route);
    document.addEventListener("visibilitychange", refreshUse);
  }
  route();
  follow();
}

function logIn(text) {
  // Nothing of the former session stays on the screen, or in memory.
  if (state.isStarted) { location.reload(); return; }
  state.session = null;
  showSession();
  show("login");
  status("", "not logged in");
  say(by("login-error"), text);
  by("login").elements.user.focus();
}

function startLogin(domain) {
  const form = by("login");
  form.elements.domain.value = domain;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const {session} = await post("login", Object.fromEntries(new FormData(form)));
      form.elements.password.value = "";
      say(by("login-error"), "");
      state.session = session;
      begin();
      by("main").focus();
    } catch (fault) {
      if (!(fault instanceof Failed)) throw fault;
      say(by("login-error"), fault.message);
      form.elements.password.select();
    } finally { button.disabled = false; }
  });
  by("logout").addEventListener("click", async () => {
    try { await post("logout"); } finally { location.hash = ""; location.reload(); }
  });
  onLoginNeeded(() => { if (state.session) logIn("The session has ended."); });
}

async function start() {
  startTheme();
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); by("main").focus(); });
  for (;;) {
    try {
      const found = await get("session");
      state.hasLogin = found.has_login;
      state.session = found.session;
      startLogin(found.default_domain);
      break;
    } catch (fault) {
      if (!(fault instanceof Failed)) throw fault;
      status("bad", fault.message);
      await pause(RETRY_MS);
    }
  }
  if (state.session) begin(); else logIn("");
  if (state.session?.ends_ms) setTimeout(() => get("session").then((found) => { if (!found.session) logIn(""); }).catch(() => {}), Math.min(2 ** 31 - 1, Math.max(0, state.session.ends_ms - Date.now()) + 500));
}

start();
export {goTo, hosts};
