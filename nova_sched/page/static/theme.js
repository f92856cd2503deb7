// Light or dark: as the system has it, until somebody chooses.
import {by} from "./dom.js";

const KEY = "nova_sched-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const changed = new Set();
let chosen = null;
try { chosen = localStorage.getItem(KEY); } catch { /* no storage: the system decides each time */ }

export const isDark = () => (chosen === null ? system.matches : chosen === "dark");
export const onTheme = (run) => changed.add(run);

function apply() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  by("theme").setAttribute("aria-pressed", String(isDark()));
  changed.forEach((run) => run());
}

export function startTheme() {
  system.addEventListener("change", apply);
  by("theme").addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    try { localStorage.setItem(KEY, chosen); } catch { /* it lasts until the page is closed */ }
    apply();
  });
  apply();
}
