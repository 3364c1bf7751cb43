// Watch: how learning and answering go, told by the server each second while
// it is in view.
import {ask, modelPath} from "./net.js";
import {classesOf, percent} from "./bars.js";
import {whenHeard} from "./live.js";

const $ = (id) => document.getElementById(id);
const RECORDS = 500;
const NS = "http://www.w3.org/2000/svg";

let page = null, seen = false, drawn = "";

const ms = (v) => v === null ? "\u2013" : v < 10 ? `${v.toFixed(2)} ms`
  : `${Math.round(v)} ms`;

function tile(id, value) { $(id).textContent = value; }

function showTraffic(stats) {
  const rate = stats.requests_per_second;
  tile("w-requests", rate < 10 ? rate.toFixed(1) : String(Math.round(rate)));
  tile("w-p50", ms(stats.p50_ms));
  tile("w-p99", ms(stats.p99_ms));
  tile("w-memory", `${Math.round(stats.memory_bytes / 1048576)} MB`);
}

function showModel(model) {
  tile("w-examples", model.examples.toLocaleString("en"));
  tile("w-accuracy", model.window ? percent(model.accuracy) : "\u2013");
  tile("w-minute", String(Math.round(model.examples_per_minute)));
  showClasses(model.classes.filter((c) => c.examples));
}

function showClasses(classes) {
  const names = classesOf(page.model);
  const most = Math.max(...classes.map((c) => c.examples), 1);
  $("w-classes").replaceChildren(...classes.map((c) => {
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = names[c.label] ?? c.class;
    const accuracy = document.createElement("td");
    accuracy.textContent = `${Math.round(c.accuracy * 100)} %`;
    const count = document.createElement("td");
    const bar = document.createElement("i");
    bar.style.width = `${100 * c.examples / most}%`;
    count.append(bar, String(c.examples));
    row.append(name, accuracy, count);
    return row;
  }));
  $("w-classes-table").hidden = !classes.length;
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
  const taught = records.filter((r) => r.predicted && !r.rejected);
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

async function draw(model) {
  const key = `${model.name} ${model.version}`;
  if (key === drawn || page.barred) return;
  drawn = key;
  try {
    const {examples} = await ask(modelPath(model, `/examples?limit=${RECORDS}`),
      {calm: true});
    if (key === drawn) showChart(examples);
  } catch { drawn = ""; /* the header says so; the next event tries again */ }
}

function hear(name, stats) {
  if (name !== "stats" || !seen) return;
  const now = stats.models.find((m) => m.model === page.model?.name);
  showTraffic(stats);
  if (!now) return;
  showModel(now);
  draw({name: now.model, version: now.version});
}

export function watch(shownPage) {
  page = shownPage;
  new IntersectionObserver((entries) => {
    seen = entries.some((e) => e.isIntersecting);
  }).observe($("watch"));
  whenHeard(hear);
}
