// The heat map: one square per host on a canvas.
import {by, number, oncePerFrame, say, timed} from "./dom.js";
import {fullness, hosts, lines, use} from "./data.js";
import {isDark, onTheme} from "./theme.js";

// Both scales are safe for colour-blind people, and the full end is the one that differs most from the background.
const LIGHT = ["#ffffd9", "#edf8b1", "#d3eeb3", "#a9ddb7", "#73c8bd", "#41b6c4", "#2498c1", "#2373b2", "#24479d", "#081d58"];
const DARK = ["#123570", "#2a406b", "#3f4c6b", "#52596c", "#65676f", "#7c7b78", "#948f78", "#b0a573", "#cebd67", "#fee838"];
const OVER = {light: "#b5006e", dark: "#ff6ec7"};
const LABEL = 20, PAD = 8, SMALLEST = 4, LARGEST = 40, ANNOUNCE_MS = 300;

const state = {cells: [], rows: [], groups: [], size: 10, columns: 1, zoom: 0, focus: null, hover: null, name: null, index: new Map()};
let open = () => {};
let announcing = null;

const colours = () => (isDark() ? DARK : LIGHT);
const overColour = () => (isDark() ? OVER.dark : OVER.light);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function colourOf(place) {
  const full = fullness(place, state.name);
  if (full === null) return null;
  return full > 1 ? overColour() : colours()[Math.min(9, Math.floor(full * 10))];
}

/** Lay out groups of hosts: [{label, places}]. */
export function layOut(groups, name) {
  state.groups = groups;
  state.name = name;
  arrange();
  draw();
}

function arrange() {
  const box = by("map-box"), canvas = by("map");
  const width = Math.max(220, box.clientWidth - 2);
  const room = Math.max(200, Math.min(window.innerHeight - 300, 900));
  const groups = state.groups;
  const heightAt = (size) => {
    const columns = Math.max(1, Math.floor((width - 2 * PAD) / size));
    return groups.reduce((sum, group) => sum + LABEL + Math.ceil(group.places.length / columns) * size + 6, 2 * PAD);
  };
  let size = LARGEST;
  while (size > SMALLEST && heightAt(size) > room) size -= 1;
  size = Math.max(SMALLEST, Math.min(80, size + state.zoom * (size < 12 ? 2 : 4)));
  const columns = Math.max(1, Math.floor((width - 2 * PAD) / size));
  Object.assign(state, {size, columns, cells: [], rows: [], index: new Map()});
  let top = PAD;
  for (const group of groups) {
    group.top = top;
    top += LABEL;
    group.places.forEach((place, number_) => {
      const row = Math.floor(number_ / columns), column = number_ % columns;
      state.index.set(place, state.cells.length);
      state.cells.push({place, x: PAD + column * size, y: top + row * size, group});
    });
    top += Math.ceil(group.places.length / columns) * size + 6;
  }
  const height = Math.max(120, top + PAD), ratio = window.devicePixelRatio || 1;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
}

function mark(context, cell, status, size) {
  // What is not up has a mark: the colour alone must not say it.
  context.beginPath();
  context.moveTo(cell.x, cell.y + size);
  context.lineTo(cell.x + size, cell.y);
  if (status >= 2) {
    context.moveTo(cell.x, cell.y);
    context.lineTo(cell.x + size, cell.y + size);
  }
  context.stroke();
}

export const draw = oncePerFrame(() => {
  const canvas = by("map"), context = canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
  const size = state.size, gap = size > 7 ? 1.5 : size > 5 ? 1 : 0.5, inner = size - gap;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  context.fillStyle = css("--soft");
  for (const group of state.groups) context.fillText(group.label, PAD, group.top + 13);
  const byColour = new Map();
  const marked = [];
  for (const cell of state.cells) {
    const colour = colourOf(cell.place);
    if (!byColour.has(colour)) byColour.set(colour, []);
    byColour.get(colour).push(cell);
    if (use.status[cell.place] > 0) marked.push(cell);
  }
  for (const [colour, cells] of byColour) {
    if (colour === null) {
      context.strokeStyle = css("--line");
      for (const cell of cells) context.strokeRect(cell.x + 0.5, cell.y + 0.5, inner - 1, inner - 1);
    } else {
      context.fillStyle = colour;
      for (const cell of cells) context.fillRect(cell.x, cell.y, inner, inner);
    }
  }
  if (size > 7) {
    context.strokeStyle = css("--edge");
    context.lineWidth = 0.5;
    for (const cell of state.cells) context.strokeRect(cell.x + 0.25, cell.y + 0.25, inner - 0.5, inner - 0.5);
  }
  context.strokeStyle = css("--bad");
  context.lineWidth = Math.max(1, size / 8);
  for (const cell of marked) mark(context, cell, use.status[cell.place], inner);
  for (const [place, width] of [[state.hover, 2], [state.focus, 3]]) {
    const cell = state.cells[state.index.get(place)];
    if (!cell || (place === state.focus && document.activeElement !== canvas && place !== state.hover)) continue;
    context.strokeStyle = css("--focus");
    context.lineWidth = width;
    context.strokeRect(cell.x - 1, cell.y - 1, inner + 2, inner + 2);
  }
  if (state.cells.length && !performance.getEntriesByName("first map").length) timed("first map", 0);
  canvas.dataset.drawn = String(state.cells.length);
});

function cellAt(x, y) {
  for (const group of state.groups) {
    const rows = Math.ceil(group.places.length / state.columns);
    const from = group.top + LABEL;
    if (y < from || y >= from + rows * state.size) continue;
    const column = Math.floor((x - PAD) / state.size), row = Math.floor((y - from) / state.size);
    if (column < 0 || column >= state.columns) return null;
    const place = group.places[row * state.columns + column];
    return place === undefined ? null : state.cells[state.index.get(place)];
  }
  return null;
}

function showTip(cell) {
  const tip = by("tip"), box = by("map-box");
  if (!cell) { tip.hidden = true; return; }
  tip.textContent = lines(cell.place).join("\n");
  tip.hidden = false;
  const left = Math.min(cell.x + state.size + 6, box.scrollLeft + box.clientWidth - tip.offsetWidth - 6);
  const below = cell.y + state.size + 6;
  const isRoom = below + tip.offsetHeight < box.scrollTop + box.clientHeight;
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${isRoom ? below : Math.max(0, cell.y - tip.offsetHeight - 6)}px`;
}

function focusOn(cell) {
  state.focus = cell.place;
  showTip(cell);
  draw();
  const box = by("map-box");
  if (cell.y < box.scrollTop + LABEL) box.scrollTop = cell.y - LABEL - PAD;
  else if (cell.y + state.size > box.scrollTop + box.clientHeight) box.scrollTop = cell.y + state.size - box.clientHeight + PAD;
  // A key that is held down must not flood a screen reader.
  clearTimeout(announcing);
  announcing = setTimeout(() => say(by("map-said"), lines(cell.place).join(", ")), ANNOUNCE_MS);
}

function onKey(event) {
  if (!state.cells.length || event.ctrlKey || event.metaKey || event.altKey) return;
  const index = state.index.get(state.focus) ?? -1;
  const cell = state.cells[index];
  const steps = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: state.columns, ArrowUp: -state.columns};
  let next = null;
  if (event.key === "Home") next = 0;
  else if (event.key === "End") next = state.cells.length - 1;
  else if (event.key in steps) {
    if (index < 0) next = 0;
    else if (Math.abs(steps[event.key]) === 1) next = index + steps[event.key];
    else {
      // Up and down stay in the column, also from one group to the next.
      const down = event.key === "ArrowDown";
      const candidates = down ? state.cells.slice(index + 1) : state.cells.slice(0, index).reverse();
      const found = candidates.find((other) => other.x === cell.x && other.y !== cell.y)
        ?? candidates.find((other) => other.y !== cell.y);
      next = found ? state.index.get(found.place) : index;
    }
  } else if ((event.key === "Enter" || event.key === " ") && cell) {
    event.preventDefault();
    open(hosts.names[cell.place]);
    return;
  } else if (event.key === "Escape") { showTip(null); return; } else return;
  event.preventDefault();
  focusOn(state.cells[Math.max(0, Math.min(state.cells.length - 1, next))]);
}

/** Mark the host that is open. */
export function select(name) {
  const place = hosts.places.get(name);
  if (place !== undefined) { state.focus = place; draw(); }
}

export function legend() {
  const box = by("legend"), parts = [];
  const scale = document.createElement("span");
  scale.className = "scale";
  for (const colour of colours()) {
    const step = document.createElement("i");
    step.style.background = colour;
    scale.append(step);
  }
  parts.push("0 %", scale, "100 % used");
  const sample = (text, paint) => {
    const canvas = document.createElement("canvas"), ratio = window.devicePixelRatio || 1, item = document.createElement("span");
    canvas.width = canvas.height = 14 * ratio;
    canvas.style.width = canvas.style.height = "14px";
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    paint(context);
    item.append(canvas, text);
    return item;
  };
  const square = (context, colour) => { context.fillStyle = colour; context.fillRect(1, 1, 12, 12); };
  const crossed = (status) => (context) => {
    square(context, colours()[1]);
    context.strokeStyle = css("--bad");
    context.lineWidth = 1.5;
    mark(context, {x: 1, y: 1}, status, 12);
  };
  parts.push(
    sample("over 100 %", (context) => square(context, overColour())),
    sample("none of it", (context) => { context.strokeStyle = css("--edge"); context.strokeRect(1.5, 1.5, 11, 11); }),
    sample("disabled", crossed(1)), sample("down or lost", crossed(2)));
  box.replaceChildren(...parts);
  box.setAttribute("aria-label", "Colours: from 0 to 100 % used, over 100 %, none of this resource. Marks: one line for disabled, a cross for down or lost.");
}

export function zoom(by_) {
  state.zoom = Math.max(-8, Math.min(12, state.zoom + by_));
  arrange();
  draw();
}

export function describe(shown, total) {
  by("map").setAttribute("aria-label",
    `Heat map of ${state.name}: ${number(shown)} of ${number(total)} hosts. Use the arrow keys, and Enter to open a host.`);
}

export function startMap(openHost) {
  open = openHost;
  const canvas = by("map");
  const place = (event) => { const box = canvas.getBoundingClientRect(); return cellAt(event.clientX - box.left, event.clientY - box.top); };
  const hover = oncePerFrame((event) => {
    const cell = place(event);
    if ((cell && cell.place) !== state.hover) { state.hover = cell && cell.place; showTip(cell); draw(); }
    canvas.style.cursor = cell ? "pointer" : "default";
  });
  canvas.addEventListener("pointermove", hover);
  canvas.addEventListener("pointerleave", () => { state.hover = null; showTip(null); draw(); });
  canvas.addEventListener("click", (event) => { const cell = place(event); if (cell) { state.focus = cell.place; open(hosts.names[cell.place]); draw(); } });
  canvas.addEventListener("keydown", onKey);
  canvas.addEventListener("focus", () => { if (state.focus === null && state.cells.length) state.focus = state.cells[0].place; draw(); });
  canvas.addEventListener("blur", () => { showTip(null); draw(); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1 : -1);
  }, {passive: false});
  let resizing = null;
  new ResizeObserver(() => { clearTimeout(resizing); resizing = setTimeout(() => { arrange(); draw(); }, 50); }).observe(by("map-box"));
  onTheme(() => { legend(); draw(); });
  legend();
}
