// Watch: how learning and answering go, asked for while it is in view.
import {ask, modelPath, text} from "./net.js";
import {classesOf, percent} from "./bars.js";

const $ = (id) => document.getElementById(id);
const EVERY = 2000; // ms
const RECORDS = 500;
const NS = "http://www.w3.org/2000/svg";

let page = null, seen = false, timer = 0, drawn = "";
let last = null; // counts at the last look

// Prometheus text: what of it is shown.
function countsOf(metrics) {
  const buckets = new Map();
  const counts = {at: performance.now(), requests: 0, memory: 0, buckets};
  for (const line of metrics.split("\n")) {
    const [, name, labels = "", value] =
      line.match(/^(\w+)(?:\{(.*)\})? ([^ ]+)$/) || [];
    if (name === "process_resident_memory_bytes") counts.memory = Number(value);
    if (name === "soma_request_seconds_count") counts.requests += Number(value);
    if (name === "soma_request_seconds_bucket" &&
        labels.includes('route="predict"')) {
      const bound = labels.match(/le="([^"]+)"/)[1];
      const limit = bound === "+Inf" ? Infinity : Number(bound);
      buckets.set(limit, (buckets.get(limit) || 0) + Number(value));
    }
  }
  return counts;
}

// The time below which that share of the predictions was answered, in ms;
// within a bucket, in proportion.
export function quantile(buckets, share) {
  const all = [...buckets].sort((a, b) => a[0] - b[0]);
  const wanted = share * (all.at(-1)?.[1] || 0);
  if (!wanted) return null;
  let low = 0, below = 0;
  for (const [limit, count] of all) {
    if (count >= wanted) {
      if (limit === Infinity) return low * 1000;
      return 1000 * (low + (limit - low) * (wanted - below) / (count - below));
    }
    low = limit;
    below = count;
  }
  return null;
}

const ms = (v) => v === null ? "\u2013" : v < 10 ? `${v.toFixed(2)} ms`
  : `${Math.round(v)} ms`;

function tile(id, value) { $(id).textContent = value; }

function showCounts(counts) {
  const rate = last && counts.requests >= last.requests
    ? (counts.requests - last.requests) * 1000 / (counts.at - last.at) : 0;
  tile("w-requests", rate < 10 ? rate.toFixed(1) : String(Math.round(rate)));
  tile("w-p50", ms(quantile(counts.buckets, 0.5)));
  tile("w-p99", ms(quantile(counts.buckets, 0.99)));
  tile("w-memory", counts.memory ? `${Math.round(counts.memory / 1048576)} MB`
    : "\u2013");
  last = counts;
}

function showModel(model, records) {
  const {progressive, examples} = model;
  tile("w-examples", examples.toLocaleString("en"));
  tile("w-accuracy", progressive.window ? percent(progressive.accuracy) : "\u2013");
  const minute = Date.now() - 60000;
  tile("w-minute", String(records.filter((r) => r.label !== undefined &&
    Date.parse(r.time) > minute).length));
  showClasses(progressive.classes || {}, model);
}

function showClasses(classes, model) {
  const names = classesOf(model);
  const rows = Object.entries(classes);
  const most = Math.max(...rows.map(([, c]) => c.window), 1);
  $("w-classes").replaceChildren(...rows.map(([key, c]) => {
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = names[key] ?? key;
    const accuracy = document.createElement("td");
    accuracy.textContent = `${Math.round(c.accuracy * 100)} %`;
    const count = document.createElement("td");
    const bar = document.createElement("i");
    bar.style.width = `${100 * c.window / most}%`;
    count.append(bar, String(c.window));
    row.append(name, accuracy, count);
    return row;
  }));
  $("w-classes-table").hidden = !rows.length;
}

function line(points, className) {
  const path = document.createElementNS(NS, "polyline");
  path.setAttribute("points", points.map((p) => p.join(",")).join(" "));
  path.setAttribute("class", className);
  return path;
}

// Accuracy and loss over what was taught: each example was answered before it
// was learned, so this is a test of its own. A fading mean, of about 20.
function showChart(records) {
  const taught = records.filter((r) => r.label !== undefined && !r.rejected);
  $("w-empty").hidden = taught.length > 1;
  $("w-chart").toggleAttribute("hidden", taught.length < 2);
  $("w-chart-text").textContent = "";
  if (taught.length < 2) return;
  let right = 0, loss = 0, weight = 0;
  const accuracy = [], losses = [];
  taught.forEach((r, i) => {
    right = right * 0.95 + Number(r.predicted.label === r.label);
    loss = loss * 0.95 + r.loss;
    weight = weight * 0.95 + 1;
    const x = (600 * i / (taught.length - 1)).toFixed(1);
    accuracy.push([x, right / weight]);
    losses.push([x, loss / weight]);
  });
  const most = Math.max(...losses.map((p) => p[1]), 1e-6);
  const scaled = (points, top) => points.map(([x, v]) =>
    [x, (156 - 152 * v / top).toFixed(1)]);
  $("w-lines").replaceChildren(line(scaled(accuracy, 1), "accuracy"),
    line(scaled(losses, most), "loss"));
  const [a, l] = [accuracy.at(-1)[1], losses.at(-1)[1]];
  $("w-chart-text").textContent = `Over ${taught.length} examples: now right ` +
    `${Math.round(a * 100)} % of the time, loss ${l.toFixed(2)}`;
}

async function look() {
  clearTimeout(timer);
  if (!seen || document.hidden || !page.model) return;
  try {
    const model = page.model;
    const [metrics, now, history] = [await text("/metrics"),
      await ask(modelPath(model)),
      await ask(modelPath(model, `/examples?limit=${RECORDS}`))];
    if (model === page.model) {
      showCounts(countsOf(metrics));
      showModel(now, history.examples);
      const key = `${model.name} ${history.version}`;
      if (key !== drawn) showChart(history.examples);
      drawn = key;
    }
  } catch { /* the header says so; the next look tries again */ }
  clearTimeout(timer);
  timer = setTimeout(look, EVERY);
}

export function watch(shownPage) {
  page = shownPage;
  new IntersectionObserver((entries) => {
    seen = entries.some((e) => e.isIntersecting);
    look();
  }).observe($("watch"));
  document.addEventListener("visibilitychange", look);
  document.addEventListener("answer", look);
}
