// Look inside: the first layer's weights as pictures, what each layer answers,
// units that take no part, and the pixels that spoke for and against.
import {conditions, run, spoke, weightsOf} from "./network.js";
import {classesOf} from "./bars.js";

const $ = (id) => document.getElementById(id);
const MOST = 100; // templates shown
const FEW = 5; // pictures, of which fewer say nothing of a unit
const HEAVY = 6e6; // parameters; beyond, a button asks for them first

let page = null, model = null, layers = null, version = -1;
let seen = false, asked = false, busy = false, again = false;
let tried = []; // of each layer the activations for the samples

function colour(name) {
  const text = getComputedStyle(document.documentElement)
    .getPropertyValue(name).trim();
  const long = text.length === 4 ? text.replace(/[^#]/g, "$&$&") : text;
  return [1, 3, 5].map((i) => parseInt(long.slice(i, i + 2), 16));
}

// Values from -1 to 1 between three colours.
function diverging(canvas, width, height, values, ground) {
  canvas.width = width;
  canvas.height = height;
  const g = canvas.getContext("2d"), image = g.createImageData(width, height);
  const below = colour("--against"), above = colour("--accent");
  for (let i = 0; i < width * height; i++) {
    const v = Math.max(-1, Math.min(1, values[i]));
    const end = v > 0 ? above : below, base = ground(i);
    for (let c = 0; c < 3; c++)
      image.data[i * 4 + c] = base[c] + (end[c] - base[c]) * Math.abs(v);
    image.data[i * 4 + 3] = 255;
  }
  g.putImageData(image, 0, 0);
}

// One template: weights of a unit. Of colour pictures, in colour.
function template(canvas, {width, height, channels}, weights) {
  const most = weights.reduce((m, w) => Math.max(m, Math.abs(w)), 1e-9);
  if (channels === 1) {
    const track = colour("--track");
    return diverging(canvas, width, height, weights.map((w) => w / most),
      () => track);
  }
  const size = width * height;
  canvas.width = width;
  canvas.height = height;
  const g = canvas.getContext("2d"), image = g.createImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++)
      image.data[i * 4 + c] = 127 + 128 * weights[c * size + i] / most;
    image.data[i * 4 + 3] = 255;
  }
  g.putImageData(image, 0, 0);
}

function showTemplates() {
  const {outs, ins, weight} = layers[0];
  const count = Math.min(outs, MOST);
  const box = $("templates");
  while (box.children.length > count) box.lastChild.remove();
  while (box.children.length < count)
    box.append(document.createElement("canvas"));
  box.setAttribute("aria-label",
    `Weights of ${count} of ${outs} units of the first layer`);
  const names = layers.length === 1 && outs > 1 ? classesOf(model) : null;
  for (let j = 0; j < count; j++) {
    template(box.children[j], page.look, weight.subarray(j * ins, (j + 1) * ins));
    box.children[j].title = names ? names[j] : `Unit ${j + 1}`;
  }
  $("templates-text").textContent = layers.length === 1
    ? "One for each answer: the picture that it looks for."
    : `What each unit of the first layer looks for${count < outs
      ? ` (${count} of ${outs})` : ""}. Framed: those that answer to your picture.`;
}

function showLayers(steps) {
  $("layers").replaceChildren(...layers.map((layer, l) => {
    const box = document.createElement("div");
    const title = document.createElement("h4");
    const canvas = document.createElement("canvas");
    const text = document.createElement("p");
    const last = l === layers.length - 1;
    title.textContent = last ? "Answer" : `Layer ${l + 1}`;
    text.className = "quiet fine";
    const a = steps?.[l].a;
    const columns = Math.min(layer.outs, layer.outs > 256 ? 64 : 32);
    const rows = Math.ceil(layer.outs / columns);
    const most = a ? a.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-9) : 1;
    const track = colour("--track");
    const values = new Float32Array(columns * rows);
    if (a) values.set(a.map((v) => v / most));
    diverging(canvas, columns, rows, values, () => track);
    canvas.style.aspectRatio = `${columns} / ${rows}`;
    canvas.style.maxWidth = `${columns * .75}rem`;
    const active = a ? a.filter((v) => Math.abs(v) > most / 50).length : 0;
    text.textContent = `${layer.outs} units, ${layer.activation}` +
      (a ? ` \u00b7 ${active} active` : "");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", text.textContent);
    box.append(title, canvas, text);
    return box;
  }));
}

// Which units no picture moves: the samples' and this one.
function showConditions(steps) {
  const hidden = layers.slice(0, -1);
  let dead = 0, saturated = 0, all = 0;
  const marks = hidden.map((layer, l) => {
    const runs = [...tried.map((t) => t[l].a), ...(steps ? [steps[l].a] : [])];
    if (runs.length < FEW) return null;
    const found = conditions(layer.activation, runs);
    dead += found.dead.size;
    saturated += found.saturated.size;
    all += layer.outs;
    return found;
  });
  const pictures = tried.length + (steps ? 1 : 0);
  $("units").textContent = !hidden.length
    ? "This model has no hidden layer: pixels speak to the answers directly."
    : pictures < FEW ? "A unit that no picture ever moves would be dead: it adds " +
      "nothing and cannot learn."
      : saturated ? `${saturated} of ${all} hidden units are saturated: all ` +
        `${pictures} pictures here drive them to their limit, where they ` +
        "hardly learn any more. They are dashed."
        : dead ? `${dead} of ${all} hidden units stay silent for all ` +
        `${pictures} pictures here. One that is silent for every picture is ` +
        "dead: it adds nothing and cannot learn. They are dashed."
          : `No hidden unit is dead or saturated for the ${pictures} pictures here.`;
  const first = marks[0];
  const a = hidden.length && steps ? steps[0].a : null;
  const most = a ? Math.max(...a, 1e-9) : 1;
  [...$("templates").children].forEach((canvas, j) => {
    canvas.classList.toggle("still",
      Boolean(first?.dead.has(j) || first?.saturated.has(j)));
    canvas.classList.toggle("lit", Boolean(a && a[j] > most / 4));
  });
}

function showSpoke(steps) {
  const {pixels, look} = page;
  const size = look.width * look.height;
  const label = steps ? bestOf(steps.at(-1).a) : 0;
  const parts = steps ? spoke(model, layers, pixels, steps, label) : null;
  const values = new Float32Array(size), grey = new Float32Array(size);
  for (let i = 0; parts && i < parts.length; i++) {
    values[i % size] += parts[i];
    grey[i % size] += pixels[i] / look.channels;
  }
  const most = values.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-9);
  diverging($("spoke"), look.width, look.height,
    values.map((v) => Math.sign(v) * Math.sqrt(Math.abs(v) / most)), (i) =>
      [1, 1, 1].map(() => 18 + 110 * grey[i]));
  $("spoke-text").textContent = steps
    ? `Pixels that spoke for \u201c${classesOf(model)[label]}\u201d, and against it.`
    : "Draw something to see which pixels count.";
}

const bestOf = (a) => a.length === 1 ? Number(a[0] > 0)
  : a.indexOf(a.reduce((m, v) => Math.max(m, v)));

// How far teaching moved the first layer's weights.
function moved(before) {
  if (!before || before[0].weight.length !== layers[0].weight.length) return "";
  let change = 0, size = 0;
  const from = before[0].weight, to = layers[0].weight;
  for (let i = 0; i < to.length; i++) {
    change += (to[i] - from[i]) ** 2;
    size += from[i] ** 2;
  }
  return change ? `The last change moved them by ${
    (100 * Math.sqrt(change / size)).toFixed(2)} %.` : "";
}

function showAll() {
  if (!layers) return;
  const steps = page.pixels && run(model, layers, page.pixels);
  showLayers(steps);
  showConditions(steps);
  showSpoke(steps);
}

async function refresh() {
  if (!seen || !page?.model || document.body.classList.contains("sightless"))
    return;
  const heavy = page.model.parameters > HEAVY && !asked;
  $("inside-ask").hidden = !heavy;
  $("inside-body").hidden = heavy;
  if (heavy) return;
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  try {
    do {
      again = false;
      await load();
    } while (again);
  } catch { /* the header says so; the next picture tries again */
  } finally {
    busy = false;
  }
}

async function load() {
  const wanted = page.model;
  const newest = page.answer?.version ?? wanted.version;
  if (model !== wanted || version !== newest) {
    const fresh = await weightsOf(wanted);
    if (page.model !== wanted) {
      again = true;
      return;
    }
    const before = model === wanted ? layers : null;
    [model, layers, version] = [wanted, fresh, newest];
    tried = page.samples.map((s) => run(model, layers, s.pixels));
    showTemplates();
    $("moved").textContent = moved(before);
  }
  showAll();
}

export function lookInside(shownPage) {
  page = shownPage;
  for (const event of ["picture", "answer"])
    document.addEventListener(event, refresh);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (layers) showTemplates();
    showAll();
  });
  $("inside-load").addEventListener("click", () => {
    asked = true;
    refresh();
  });
  new IntersectionObserver((entries) => {
    seen = entries.some((e) => e.isIntersecting);
    refresh();
  }, {rootMargin: "300px"}).observe($("inside"));
}
