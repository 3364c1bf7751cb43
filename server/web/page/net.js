// Requests to the server, and what is shown of how they go: the state in the
// header, the dialog that asks for a key.

const $ = (id) => document.getElementById(id);
const KEY = "soma-key";
const SLOW = 700; // ms until a request that is not answered is called slow
const LIMIT = 15000; // ms until it is given up

const TEXTS = {
  loading: "Connecting",
  ready: "Connected",
  slow: "Still thinking",
  offline: "Offline, trying again",
  busy: "Busy, trying again",
  stopped: "Learning is stopped",
  key: "Needs a key",
  wrong: "Not taken",
};

let again = null; // what shall happen when the server is there again
let timer = 0;
let asking = null;
let declined = false; // to give a key; until the button in the header

export function show(state, text) {
  if (document.body.dataset.state === state && !text) return;
  document.body.dataset.state = state;
  $("state-text").textContent = text || TEXTS[state];
}

export const whenBack = (call) => { again = call; };

// Asks until the server answers, then calls what waits for that.
function wait(seconds) {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    try {
      const answer = await fetch("/readyz", {cache: "no-store"});
      if (!answer.ok) return wait(2);
      show("ready");
      if (again) again();
    } catch { wait(2); }
  }, seconds * 1000);
}

// One dialog, however many requests wait for the key. A key that is wrong is
// forgotten.
function askForKey() {
  show("key");
  if (asking || declined) return asking;
  const before = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  $("key-why").textContent = before
    ? "The server does not take that key. Try another one."
    : "It is kept in this tab until you close it.";
  const dialog = $("key");
  $("key-value").value = "";
  dialog.showModal();
  asking = new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      asking = null;
      const value = $("key-value").value.trim();
      if (value) sessionStorage.setItem(KEY, value);
      declined = !value;
      resolve(Boolean(value));
    }, {once: true});
  });
  return asking;
}

// A key that is for less than is wanted is given up for another one.
$("give-key").addEventListener("click", () => {
  declined = false;
  if (document.body.classList.contains("barred")) {
    sessionStorage.removeItem(KEY);
    location.reload();
  } else if (again) {
    again();
  }
});

export function headers(more) {
  const key = sessionStorage.getItem(KEY);
  return key ? {...more, Authorization: "Bearer " + key} : {...more};
}

// Problem: what people read; state: that of the header.
export class Problem extends Error {
  constructor(state, text) { super(text); this.state = state; }
}

async function send(path, options) {
  const stop = new AbortController();
  const slow = setTimeout(() => show("slow"), SLOW);
  const limit = setTimeout(() => stop.abort(), LIMIT);
  try {
    const answer = await fetch(path, {
      ...options, headers: headers(options.headers),
      signal: stop.signal, cache: "no-store",
    });
    if (answer.ok && options.as) return {answer, value: await answer[options.as]()};
    const text = await answer.text();
    let value = {};
    try { value = JSON.parse(text); } catch { /* a proxy's page */ }
    return {answer, value};
  } catch {
    show("offline");
    wait(1);
    throw new Problem("offline", "The server does not answer.");
  } finally {
    clearTimeout(slow);
    clearTimeout(limit);
  }
}

// The answer's JSON. Throws a Problem, which the header shows already; calm:
// unless it is only that the key is not for it.
export async function ask(path, options = {}) {
  for (;;) {
    const {answer, value} = await send(path, options);
    if (answer.ok) {
      show("ready");
      return value;
    }
    const says = value.error || `The server answered ${answer.status}.`;
    if (answer.status === 401 && await askForKey()) continue;
    if (answer.status === 401) throw new Problem("key", says);
    if (answer.status === 403) { // what the key is not for
      show(options.calm ? "ready" : "wrong");
      throw new Problem("barred", says);
    }
    if (answer.status === 503 || answer.status === 429) {
      const stopped = value.code === "learning_stopped";
      show(stopped ? "stopped" : "busy");
      if (!stopped) wait(Number(answer.headers.get("Retry-After")) || 1);
      throw new Problem(stopped ? "stopped" : "busy", says);
    }
    show("wrong");
    throw new Problem("wrong", says);
  }
}

async function read(stream, call) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, name] = event.match(/^event: (.*)$/m) || [];
      const [, data] = event.match(/^data: (.*)$/m) || [];
      if (name && data) call(name, JSON.parse(data));
    }
  }
}

const pause = (seconds) =>
  new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

// Server-sent events, each given to call(name, data), and again when they have
// ended, until the signal. Not by EventSource, which cannot send a key.
export async function listen(path, call, signal) {
  while (!signal.aborted) {
    let seconds = 1;
    try {
      const answer = await fetch(path,
        {headers: headers(), signal, cache: "no-store"});
      if (answer.ok) await read(answer.body, call);
      else if (answer.status === 401 && await askForKey()) seconds = 0;
      else seconds = 10;
    } catch {
      if (signal.aborted) return;
      show("offline");
      wait(1);
    }
    await pause(seconds);
  }
}

export const post = (path, body, type = "application/json") =>
  ask(path, {method: "POST", headers: {"Content-Type": type},
    body: type === "application/json" ? JSON.stringify(body) : body});

export const bytes = (path) => ask(path, {as: "arrayBuffer"});
export const text = (path) => ask(path, {as: "text"});

export const modelPath = (model, rest = "") =>
  `/models/${encodeURIComponent(model.name)}${rest}`;
