// Look inside: the first layer's weights as pictures, what each layer answers,
// units that take no part, and the pixels that spoke for and against.
import {bytes, modelPath, post} from "./net.js";
import {bodyOf} from "./picture.js";
import {classesOf} from "./bars.js";

const $ = (id) => document.getElementById(id);
const MOST = 100; // templates shown

let page = null, seen = false, busy = false, again = false;
let model = null, version = -1; // of the templates shown
let templates = null; // [count x ins] weights of the first layer
let told = null; // what the server explained of the picture on the paper

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
  const {outs, ins, count} = firstLayer();
  const box = $("templates");
  while (box.children.length > count) box.lastChild.remove();
  while (box.children.length < count)
    box.append(document.createElement("canvas"));
  box.setAttribute("aria-label",
    `Weights of ${count} of ${outs} units of the first layer`);
  const names = model.layers.length === 1 && outs > 1 ? classesOf(model) : null;
  for (let j = 0; j < count; j++) {
    template(box.children[j], page.look,
      templates.subarray(j * ins, (j + 1) * ins));
    box.children[j].title = names ? names[j] : `Unit ${j + 1}`;
  }
  $("templates-text").textContent = model.layers.length === 1
    ? "One for each answer: the picture that it looks for."
    : `What each unit of the first layer looks for${count < outs
      ? ` (${count} of ${outs})` : ""}. Framed: those that answer to your picture.`;
}

function firstLayer() {
  const outs = model.layers[0].units;
  return {outs, count: Math.min(outs, MOST),
    ins: model.input.shape.reduce((a, b) => a * b)};
}

// The layers that pass something on, and the answer.
function answersOf() {
  const last = model.layers.at(-1);
  const hidden = model.layers.slice(0, -1).map((layer, l) =>
    ({title: `Layer ${l + 1}`, units: layer.units, activation: layer.activation,
      values: told?.layers[l].activations}));
  return [...hidden, {title: "Answer", units: told
    ? (told.probabilities || told.scores).length : last.units,
  activation: told?.scores ? "scores" : "probabilities",
  values: told && (told.probabilities || told.scores)}];
}

function showLayers() {
  $("layers").replaceChildren(...answersOf().map((layer) => {
    const box = document.createElement("div");
    const title = document.createElement("h4");
    const canvas = document.createElement("canvas");
    const text = document.createElement("p");
    const {units, values} = layer;
    title.textContent = layer.title;
    text.className = "quiet fine";
    const columns = Math.min(units, units > 256 ? 64 : 32);
    const rows = Math.ceil(units / columns);
    const most = largest(values || []);
    const track = colour("--track");
    const cells = new Float32Array(columns * rows);
    if (values) cells.set(values.map((v) => v / most));
    diverging(canvas, columns, rows, cells, () => track);
    canvas.style.aspectRatio = `${columns} / ${rows}`;
    canvas.style.maxWidth = `${columns * .75}rem`;
    const active = (values || []).filter((v) => Math.abs(v) > most / 50).length;
    text.textContent = `${units} units, ${layer.activation}` +
      (values ? ` \u00b7 ${active} active` : "");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${layer.title}: ${text.textContent}`);
    box.append(title, canvas, text);
    return box;
  }));
}

const largest = (values) =>
  values.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-9);

// Units that take no part in any of the pictures that the server has at hand.
function showUnits() {
  const layers = told?.layers || [];
  const count = (kind) => layers.filter((l) => l.kind === kind)
    .reduce((sum, l) => sum + l.always_stuck.length, 0);
  const all = layers.reduce((sum, l) => sum + l.activations.length, 0);
  const rows = Math.max(0, ...layers.map((l) => l.sampled_rows));
  const dead = count("dead"), saturated = count("saturated");
  $("units").textContent = model.layers.length === 1
    ? "This model has no hidden layer: pixels speak to the answers directly."
    : !told ? "Draw something to see its units at work."
      : !rows ? "Ask it a little more, and it can tell which units never answer."
        : saturated ? `${saturated} of ${all} hidden units are saturated: in ` +
          `all of the last ${rows} pictures they are at their limit, where ` +
          "they hardly learn any more. They are dashed."
          : dead ? `${dead} of ${all} hidden units are dead: silent in all of ` +
            `the last ${rows} pictures, they add nothing and learn nothing. ` +
            "They are dashed."
            : `No hidden unit is dead or saturated in the last ${rows} pictures.`;
  const first = layers[0];
  const stuck = new Set(first?.always_stuck || []);
  const most = largest(first?.activations || []);
  [...$("templates").children].forEach((canvas, j) => {
    canvas.classList.toggle("still", stuck.has(j));
    canvas.classList.toggle("lit",
      Boolean(first && first.activations[j] > most / 4));
  });
}

function showSpoke() {
  const {look} = page;
  const size = look.width * look.height;
  const values = new Float32Array(size), grey = new Float32Array(size);
  for (let i = 0; told && i < told.attribution.length; i++) {
    values[i % size] += told.attribution[i];
    grey[i % size] += told.pixels[i] / look.channels;
  }
  const most = largest(values);
  diverging($("spoke"), look.width, look.height,
    values.map((v) => Math.sign(v) * Math.sqrt(Math.abs(v) / most)), (i) =>
      [1, 1, 1].map(() => 18 + 110 * grey[i]));
  $("spoke-text").textContent = told
    ? `Pixels that spoke for \u201c${classesOf(model)[told.explained.label]}` +
      "\u201d, and against it." : "Draw something to see which pixels count.";
}

// How far teaching moved the weights that are shown.
function moved(before) {
  if (!before || before.length !== templates.length) return "";
  let change = 0, size = 0;
  for (let i = 0; i < templates.length; i++) {
    change += (templates[i] - before[i]) ** 2;
    size += before[i] ** 2;
  }
  return change ? `The last change moved them by ${
    (100 * Math.sqrt(change / size)).toFixed(2)} %.` : "";
}

function showAll() {
  if (!templates) return;
  showLayers();
  showUnits();
  showSpoke();
}

// One at a time; of pictures that wait, the newest.
async function refresh() {
  if (!seen || !page.model || document.body.classList.contains("sightless"))
    return;
  again = busy;
  if (busy) return;
  busy = true;
  try {
    do {
      again = false;
      await load();
    } while (again);
  } catch { /* the header says so; the next picture tries again */ }
  busy = false;
}

async function load() {
  const {model: wanted, pixels} = page;
  const newest = page.answer?.version ?? wanted.version;
  if (model !== wanted || version !== newest) {
    const fresh = await bytes(
      modelPath(wanted, `/weights?layer=0&units=${Math.min(MOST, wanted.layers[0].units)}`));
    if (page.model !== wanted) return void (again = true);
    const before = model === wanted ? templates : null;
    [model, version, templates] = [wanted, newest, new Float32Array(fresh)];
    told = null;
    showTemplates();
    $("moved").textContent = moved(before);
  }
  if (pixels) {
    const [type, body] = bodyOf(wanted, [pixels]);
    const answer = await post(modelPath(wanted, "/explain"), body, type);
    if (page.model !== wanted) return void (again = true);
    told = page.pixels ? {...answer, pixels} : null;
  } else {
    told = null;
  }
  showAll();
}

export function lookInside(shownPage) {
  page = shownPage;
  for (const event of ["picture", "answer"])
    document.addEventListener(event, refresh);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (templates) showTemplates();
    showAll();
  });
  new IntersectionObserver((entries) => {
    seen = entries.some((e) => e.isIntersecting);
    refresh();
  }, {rootMargin: "300px"}).observe($("inside"));
}
