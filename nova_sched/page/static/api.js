// Requests to the page's own server.

export class Failed extends Error {
  constructor(text, code) { super(text); this.code = code; }
}

const listeners = new Set();
/** Call a function when the session has ended. */
export const onLoginNeeded = (run) => listeners.add(run);

const SECONDS = 60;

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, {credentials: "same-origin", signal: AbortSignal.timeout(SECONDS * 1000), ...options});
  } catch {
    throw new Failed("The server of this page does not answer.", 0);
  }
  let body = null;
  try { body = await answer.json(); } catch { /* no JSON: the status says enough */ }
  if (answer.ok && body) return body;
  const failed = new Failed((body && body.error) || `The server answered ${answer.status}.`, answer.status);
  failed.seconds = Number(answer.headers.get("Retry-After")) || 0;
  if (answer.status === 401 && path !== "/api/login") listeners.forEach((run) => run());
  throw failed;
}

/** GET a path with parameters; those that are empty are left out. */
export function get(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return ask(`/api/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`);
}

export function post(path, value = {}) {
  return ask(`/api/${path}`, {
    method: "POST", body: JSON.stringify(value), headers: {"Content-Type": "application/json", "X-Nova-Sched-Page": "1"},
  });
}
