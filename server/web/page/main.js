// The page: which model, what is on the paper, and what the model says to it.
import {ask, modelPath, post, show, whenBack} from "./net.js";
import {Paper, pixelsOf} from "./ink.js";
import {bodyOf, lookOf, paint, pixelsOfPicture} from "./picture.js";
import {isDigits, samplesFor} from "./samples.js";
import {COLOURS, showPalette} from "./palette.js";
import {classesOf, percent, showBars} from "./bars.js";
import {Teacher} from "./teach.js";
import {lookInside} from "./inside.js";
import {live} from "./live.js";
import {watch} from "./watch.js";

const $ = (id) => document.getElementById(id);
const page = {
  models: [], model: null, look: null, samples: [],
  pixels: null, // of the picture that is asked about; null: there is none
  answer: null,
  busy: false, waiting: false, // a request under way; a newer picture
};

const paper = new Paper($("draw"), () => {
  page.pixels = paper.empty ? null
    : pixelsOf(paper.strokes, page.look, paper.ground);
  shown();
}, () => forgetPicture());

const teacher = new Teacher(page, {predict, changed: shown});

// ---- What is on the paper ----

function forgetPicture() {
  $("paper").classList.remove("pictured");
}

function shown() {
  const look = page.look;
  $("hint").hidden = Boolean(page.pixels);
  const none = new Float32Array(look.width * look.height * look.channels);
  for (const id of ["seen", "shown"])
    paint($(id), page.pixels || none, look);
  teacher.ready(Boolean(page.pixels));
  document.dispatchEvent(new Event("picture"));
  if (page.pixels) predict();
  else showAnswer(null);
}

// Puts a picture, not a drawing, on the paper.
function setPixels(pixels) {
  paper.wipe();
  $("paper").classList.add("pictured");
  page.pixels = pixels;
  shown();
}

async function take(file) {
  try {
    setPixels(await pixelsOfPicture(file, page.look));
  } catch {
    show("wrong", "That is not a picture");
  }
}

// ---- Answers: one request at a time; of pictures that wait, the newest ----

async function predict() {
  if (page.busy) {
    page.waiting = true;
    return;
  }
  page.busy = true;
  do {
    page.waiting = false;
    const {model, pixels} = page;
    const [type, body] = bodyOf(model, [pixels]);
    const start = performance.now();
    try {
      const answer = await post(modelPath(model, "/predict"), body, type);
      answer.took = performance.now() - start;
      if (page.pixels && page.model === model) showAnswer(answer);
    } catch (problem) {
      if (problem.state === "wrong") showProblem(problem);
      break;
    }
  } while (page.waiting && page.pixels);
  page.busy = false;
}

function showAnswer(answer) {
  page.answer = answer;
  const {model} = page;
  showBars($("bars"), model, answer, answer?.label);
  const names = classesOf(model);
  $("verdict").textContent = answer ? names[answer.label] : "\u2013";
  $("verdict").classList.toggle("long",
    Math.max(...names.map((n) => n.length)) > 2);
  const best = answer?.probabilities?.[answer.label];
  $("verdict-sure").textContent = best !== undefined
    ? `${percent(best)} sure` : answer ? "" : "\u00a0";
  $("timing").textContent = answer
    ? `version ${answer.version} \u00b7 answered in ${answer.took.toFixed(1)} ms`
    : `version ${model.version} \u00b7 ${model.parameters.toLocaleString("en")} parameters`;
  if (answer) document.dispatchEvent(new Event("answer"));
}

function showProblem(problem) {
  showAnswer(null);
  $("timing").textContent = problem.message;
}

// ---- Models ----

async function use(model) {
  page.model = model;
  page.pixels = null;
  page.look = lookOf(model);
  document.body.classList.toggle("sightless", !page.look);
  page.look ||= {channels: 1, height: 1, width: 1};
  const paints = page.look.channels === 3;
  document.body.classList.toggle("colour", paints);
  $("try-title").textContent = isDigits(model) ? "Draw a digit"
    : `${paints ? "Paint" : "Draw"}, or choose a picture`;
  $("hint").textContent = paints ? "Paint here, or drop a picture" : "Draw here";
  $("paper").style.aspectRatio = `${page.look.width} / ${page.look.height}`;
  forgetPicture();
  paper.take(page.look, paints ? "#fff" : null, paints ? COLOURS[0][1] : null);
  const samples = await samplesFor(model, lookOf(model));
  if (page.model !== model) return;
  page.samples = samples;
  showSamples();
  document.dispatchEvent(new Event("picture"));
  await teacher.use();
}

function showSamples() {
  const paints = page.look.channels === 3;
  $("samples").setAttribute("aria-label", paints ? "Colours" : "Samples");
  if (paints) return showPalette($("samples"), paper);
  $("samples").replaceChildren(...page.samples.map((sample) => {
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    button.type = "button";
    button.setAttribute("aria-label", `Sample: ${sample.name}`);
    button.title = sample.name;
    paint(canvas, sample.pixels, page.look);
    button.append(canvas);
    button.addEventListener("click", () => {
      if (!sample.strokes) return setPixels(sample.pixels);
      forgetPicture();
      paper.strokes = sample.strokes.map((s) => [...s]);
      paper.update();
    });
    return button;
  }));
}

async function load() {
  const {models} = await ask("/models");
  const ready = models.filter((m) => m.input);
  page.models = ready;
  const select = $("model");
  if (!ready.length) {
    select.replaceChildren(new Option("no model", ""));
    document.body.classList.add("sightless");
    return show("wrong", "No model is served");
  }
  const wanted = new URLSearchParams(location.hash.slice(1)).get("model");
  const named = (name) => ready.find((m) => m.name === name);
  const model = named(page.model?.name || wanted) || named("mnist") || ready[0];
  select.replaceChildren(...ready.map((m) => new Option(m.name, m.name)));
  select.value = model.name;
  select.disabled = false;
  await use(model);
}

// After the server was away: what is on the paper stays there.
async function back() {
  if (!page.model) return start();
  try {
    if (page.pixels) await predict();
    await teacher.use();
  } catch { /* the header says so */ }
}

async function start() {
  try {
    await load();
  } catch (problem) {
    if (problem.state === undefined) throw problem;
    $("timing").textContent = problem.message;
  }
}

// ---- Wiring ----

$("model").addEventListener("change", (event) => {
  const model = page.models.find((m) => m.name === event.target.value);
  history.replaceState(null, "", `#model=${encodeURIComponent(model.name)}`);
  use(model).catch(() => {});
});
$("clear").addEventListener("click", () => {
  forgetPicture();
  paper.clear();
});
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", (event) => {
  if (event.target.files[0]) take(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((f) =>
    f.type.startsWith("image/"));
  if (file) take(file);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("paper").classList.add("over");
});
document.addEventListener("dragleave", () => $("paper").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("paper").classList.remove("over");
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});
lookInside(page);
watch(page);
whenBack(back);
start().then(live);
