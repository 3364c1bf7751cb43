// Teaching: the buttons, before and after, what was taught, undo and redo.
import {ask, modelPath, post, Problem} from "./net.js";
import {bodyOf, lookOf, paint, unitOf} from "./picture.js";
import {classesOf, percent, showBars} from "./bars.js";
import {whenHeard} from "./live.js";

const $ = (id) => document.getElementById(id);
const SHOWN = 24;
const AGAIN = 1000; // ms between looks at what others teach

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// The versions whose examples are in the weights of `version`: a rollback
// leads to the version that it went back to.
export function inForce(records, version) {
  const at = new Map(records.map((r) => [r.version, r]));
  const found = new Set();
  for (let v = version; v > 0 && at.has(v);) {
    const {rollback} = at.get(v);
    if (rollback === undefined) found.add(v--);
    else v = rollback;
  }
  return found;
}

export class Teacher {
  constructor(page, {changed}) {
    Object.assign(this, {page, changed, busy: false, picture: false});
    this.looking = 0; // the timer of a look that is to come
    whenHeard((name, news) => {
      if (name !== "stats" && news.model === this.model?.name &&
          news.version > this.model.version) this.lookSoon();
    });
  }

  // What others taught, took back or promoted.
  lookSoon() {
    this.looking ||= setTimeout(async () => {
      this.looking = 0;
      if (this.busy) return; // which looks itself
      try {
        await this.feed();
        this.changed();
      } catch { /* the header says so */ }
    }, AGAIN);
  }

  // The picture that can be taught came or went.
  ready(picture) {
    this.picture = picture;
    for (const button of $("labels").children)
      button.disabled = !picture || this.busy || this.page.barred;
    if ($("lesson").querySelector(".change").hidden)
      $("lesson-empty").textContent = this.page.barred
        ? "With this key you may ask, but not teach."
        : picture ? "Is it right? If not, tell it." : "Draw something first.";
  }

  // Another model, or the same again: its buttons and its examples.
  async use() {
    const {model} = this.page;
    if (this.model !== model) {
      this.model = model;
      this.forget();
      $("labels").replaceChildren(...classesOf(model).map((name, label) => {
        const button = make("button", "", name);
        button.type = "button";
        button.setAttribute("aria-label", `It is a ${name}`);
        button.addEventListener("click", () => this.teach(label));
        return button;
      }));
      this.ready(this.picture);
    }
    await this.feed();
  }

  forget() {
    $("lesson").querySelector(".change").hidden = true;
    $("lesson-empty").hidden = false;
    $("learned").textContent = $("kept").textContent = "";
    $("kept-bars").hidden = true;
  }

  working(busy) {
    this.busy = busy;
    this.ready(this.picture);
    for (const button of $("feed").querySelectorAll("button"))
      button.disabled = busy;
  }

  // {right, all}: how many pictures it reads right that it is not taught: those
  // that the model file sets aside, else the samples; null: it has none.
  async remembered() {
    const {model, samples} = this.page;
    if (model.guard) {
      const {right, examples} = await ask(modelPath(model, "/guard"));
      return {right, all: examples};
    }
    if (!samples.length) return null;
    const [type, body] = bodyOf(model, samples.map((s) => s.pixels));
    const {predictions} = await post(modelPath(model, "/predict"), body, type);
    return {all: samples.length,
      right: predictions.filter((p, i) => p.label === samples[i].label).length};
  }

  async teach(label) {
    const {model, pixels} = this.page;
    if (!pixels || this.busy) return;
    this.working(true);
    const [type, body] = bodyOf(model, [pixels]);
    const path = modelPath(model, "/predict");
    try {
      const before = await post(path, body, type);
      const known = await this.remembered();
      const train = modelPath(model, "/train") +
        (type === "application/json" ? "" : `?label=${label}`);
      await post(train, type === "application/json" ? {...body, label} : body,
        type);
      const after = await post(path, body, type);
      this.compare(label, before, after);
      this.keeps(known, await this.remembered());
      this.changed();
      await this.feed();
    } catch (problem) {
      this.fail(problem);
    } finally {
      this.working(false);
    }
  }

  compare(label, before, after) {
    const {model} = this.page;
    const name = classesOf(model)[label];
    $("lesson-empty").hidden = true;
    $("lesson").querySelector(".change").hidden = false;
    showBars($("before"), model, before, before.label);
    showBars($("after"), model, after, after.label);
    const sure = (answer) => answer.probabilities
      ? `, ${percent(answer.probabilities[answer.label])} sure` : "";
    const said = classesOf(model);
    $("learned").textContent = after.label !== label
      ? `It still says ${said[after.label]}. Teach it once more.`
      : before.label === label
        ? `It knew: ${name}${sure(after)}.`
        : `It said ${said[before.label]}; now it says ${name}${sure(after)}.`;
  }

  // What it knew, before and after, as two lines under each other: one glance
  // tells whether the second is shorter.
  keeps(before, after) {
    $("kept-bars").hidden = !before;
    if (!before) {
      $("kept").textContent = "This model has no pictures set aside, by which " +
        "it could tell whether it forgot any.";
      return;
    }
    for (const [id, {right, all}] of [["kept-before", before],
      ["kept-after", after]]) {
      const [, track, text] = $(id).children;
      track.firstChild.style.transform = `scaleX(${right / all})`;
      text.textContent = `${right} of ${all}`;
    }
    const fewer = before.right - after.right;
    $("kept").textContent = fewer > 0
      ? `It reads ${fewer} fewer of ${after.all} pictures that it is not taught.`
      : `It forgot nothing: of ${after.all} pictures that it is not taught ` +
        `it reads ${after.right} right${fewer ? `, ${-fewer} more than before`
          : ", as before"}.`;
  }

  fail(problem) {
    if (!(problem instanceof Problem)) throw problem;
    this.forget();
    $("lesson-empty").hidden = true;
    $("learned").textContent = problem.message;
  }

  // Undo, redo: the weights as they were before this record.
  async before(record) {
    if (this.busy) return;
    this.working(true);
    try {
      const known = await this.remembered();
      await post(modelPath(this.model, "/rollback"),
        {version: record.version - 1});
      this.forget();
      if (known) this.keeps(known, await this.remembered());
      $("learned").textContent = record.rollback === undefined
        ? "Taken back." : "Taught again.";
      $("lesson-empty").hidden = true;
      this.changed();
      await this.feed();
      $("feed").querySelector("button")?.focus();
    } catch (problem) {
      this.fail(problem);
    } finally {
      this.working(false);
    }
  }

  async feed() {
    const {model} = this;
    if (this.page.barred) return;
    try {
      const {examples, version} = await ask(
        modelPath(model, `/examples?limit=${SHOWN}&pixels=1`), {calm: true});
      if (model === this.model) this.showFeed(examples, version);
    } catch (problem) {
      if (problem.state !== "barred") throw problem;
      this.bar();
    }
  }

  // The key is for predictions alone.
  bar() {
    this.page.barred = true;
    document.body.classList.add("barred");
    $("give-key").textContent = "Use another key";
    $("feed-empty").textContent = "This key is not for what it was taught.";
    this.ready(this.picture);
  }

  showFeed(examples, version) {
    const feed = $("feed");
    const focused = document.activeElement.closest("#feed li")?.dataset.version;
    this.model.version = version;
    const valid = inForce(examples, version);
    $("feed-empty").hidden = examples.length > 0;
    feed.replaceChildren(...examples.reverse().map((record) =>
      this.item(record, valid)));
    feed.querySelector(`[data-version="${focused}"] button`)?.focus();
  }

  item(record, valid) {
    const item = make("li");
    item.dataset.version = record.version;
    const label = record.label !== undefined;
    item.classList.toggle("gone", label && !valid.has(record.version));
    item.append(label ? this.thumbnail(record) : make("span", "mark", record.promoted ? "\u21c4" : "\u21b6"));
    const text = make("div", "what");
    text.append(make("strong", "", label ? this.named(record.label)
      : record.rollback !== undefined ? "Taken back"
        : record.promoted ? `Took over ${record.promoted.from}`
          : "Settings changed"));
    text.append(make("span", "quiet", this.details(record)));
    item.append(text);
    if (label || record.rollback !== undefined || record.promoted)
      item.append(this.undo(record));
    return item;
  }

  named = (label) => classesOf(this.model)[label];

  thumbnail(record) {
    const canvas = make("canvas");
    const look = lookOf(this.model);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label",
      `Example taught as ${this.named(record.label)}`);
    if (look && record.pixels)
      paint(canvas, unitOf(this.model, record.pixels), look);
    return canvas;
  }

  details({version, label, rollback, promoted, predicted, loss, rejected}) {
    if (promoted) return `its version ${promoted.version}`;
    if (rollback !== undefined)
      return rollback ? `back to version ${rollback}` : "back to as shipped";
    if (label === undefined) return `version ${version}`;
    if (rejected) return "rejected: it would have done harm";
    if (!predicted) return `version ${version}`;
    return `${predicted.label === label ? "was right"
      : `had said ${this.named(predicted.label)}`} \u00b7 loss ${loss.toFixed(2)}`;
  }

  undo(record) {
    const back = record.rollback !== undefined;
    const button = make("button", "", back ? "Redo" : "Undo");
    button.type = "button";
    button.setAttribute("aria-label", back
      ? `Undo the taking back at version ${record.version}`
      : `Undo: back to before version ${record.version}`);
    button.title = back ? "As before it was taken back"
      : "Back to before this example; what came after it goes, too";
    button.addEventListener("click", () => this.before(record));
    return button;
  }
}
