// Drawing: strokes in units of the paper (0 to 1), and their way into a
// model's pixels. Ink becomes what MNIST made of it: scaled into a box of 20 of
// 28 pixels, then moved so that the centre of mass is in the middle. Paint, of
// models that see colours, stays where it is.

const FINE = 8; // times as fine as the model's pixels, then averaged
const BOX = 20 / 28;
const PEN = 2.3 / 28; // width of a line, of the model's picture
const BRUSH = 3.5 / 28; // the same, of paint
const STEP = 1 / 28; // of the pen that keys move

function trace(g, stroke, map) {
  const [first, ...rest] = stroke.map(map);
  g.beginPath();
  g.moveTo(...first);
  if (!rest.length) g.lineTo(first[0] + 0.01, first[1]);
  let last = first;
  for (const point of rest) {
    g.quadraticCurveTo(...last, (last[0] + point[0]) / 2,
      (last[1] + point[1]) / 2);
    last = point;
  }
  g.lineTo(...last);
  g.stroke();
}

function pen(canvas, width, colour) {
  const g = canvas.getContext("2d", {willReadFrequently: true});
  g.lineCap = g.lineJoin = "round";
  g.lineWidth = width;
  g.strokeStyle = colour;
  return g;
}

// Values of 0 to 1 of the model's pixels, channel by channel.
export const pixelsOf = (strokes, look, ground) => look.channels === 3
  ? paintOf(strokes, look, ground) : inkOf(strokes, look);

function paintOf(strokes, {width, height}, ground) {
  const w = width * FINE, h = height * FINE, size = width * height;
  const canvas = new OffscreenCanvas(w, h);
  const g = pen(canvas, BRUSH * Math.min(w, h));
  g.fillStyle = ground;
  g.fillRect(0, 0, w, h);
  for (const stroke of strokes) {
    g.strokeStyle = stroke.colour;
    trace(g, stroke, ([x, y]) => [x * w, y * h]);
  }
  const rgba = g.getImageData(0, 0, w, h).data;
  const pixels = new Float32Array(3 * size);
  for (let y = 0, at = 0; y < h; y++)
    for (let x = 0; x < w; x++, at += 4) {
      const to = Math.floor(y / FINE) * width + Math.floor(x / FINE);
      for (let c = 0; c < 3; c++)
        pixels[c * size + to] += rgba[at + c] / 255 / FINE / FINE;
    }
  return pixels;
}

function inkOf(strokes, look) {
  const points = strokes.flat();
  if (!points.length) return new Float32Array(look.width * look.height);
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const left = Math.min(...xs), top = Math.min(...ys);
  const width = Math.max(...xs) - left, height = Math.max(...ys) - top;
  const w = look.width * FINE, h = look.height * FINE, full = Math.min(w, h);
  const room = (BOX - PEN) * full;
  const scale = room / Math.max(width, height, 0.12);
  const canvas = new OffscreenCanvas(w, h);
  const g = pen(canvas, PEN * full, "#fff");
  for (const stroke of strokes)
    trace(g, stroke, ([x, y]) => [
      w / 2 + (x - left - width / 2) * scale,
      h / 2 + (y - top - height / 2) * scale]);
  return centred(g.getImageData(0, 0, w, h).data, look);
}

function centred(rgba, {width, height}) {
  const w = width * FINE, h = height * FINE;
  let mass = 0, mx = 0, my = 0;
  for (let y = 0, at = 3; y < h; y++)
    for (let x = 0; x < w; x++, at += 4) {
      mass += rgba[at];
      mx += rgba[at] * x;
      my += rgba[at] * y;
    }
  const dx = Math.round(mx / mass - (w - 1) / 2);
  const dy = Math.round(my / mass - (h - 1) / 2);
  const pixels = new Float32Array(width * height);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const fx = x + dx, fy = y + dy;
      if (fx < 0 || fy < 0 || fx >= w || fy >= h) continue;
      const to = Math.floor(y / FINE) * width + Math.floor(x / FINE);
      pixels[to] += rgba[(fy * w + fx) * 4 + 3] / 255 / FINE / FINE;
    }
  return pixels;
}

// The paper. `changed` is called with each change; `begun` before the first
// stroke on a paper that showed something else.
export class Paper {
  constructor(canvas, changed, begun) {
    Object.assign(this, {canvas, changed, begun, strokes: []});
    this.ground = this.colour = null; // of ink: the page's own
    this.cursor = [0.5, 0.5];
    this.down = false; // the pen that keys move
    this.listen();
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height];
  }

  // Its shape is the model's; colours: it is painted on.
  take(look, ground, colour) {
    Object.assign(this, {ground, colour});
    this.canvas.height = Math.round(this.canvas.width * look.height / look.width);
    this.clear();
  }

  get empty() { return !this.strokes.length && !this.filled; }

  fill() {
    this.begun();
    this.ground = this.colour;
    this.filled = true;
    this.update();
  }

  start(point) {
    this.begun();
    this.strokes.push(Object.assign([point], {colour: this.colour}));
    this.update();
  }

  extend(point) {
    this.strokes.at(-1).push(point);
    this.update();
  }

  update() {
    this.draw();
    this.changed();
  }

  // Something else comes in its place.
  wipe() {
    this.strokes = [];
    this.down = this.filled = false;
    if (this.ground) this.ground = "#fff";
    this.draw();
  }

  clear() {
    this.wipe();
    this.changed();
  }

  listen() {
    const canvas = this.canvas;
    let drawing = null; // the pointer that draws
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || drawing !== null) return;
      drawing = event.pointerId;
      canvas.setPointerCapture(drawing);
      this.start(this.at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== drawing) return;
      const all = event.getCoalescedEvents?.() || [];
      for (const one of all.length ? all : [event]) this.extend(this.at(one));
    });
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, (event) => {
        if (event.pointerId === drawing) drawing = null;
      });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.down = false; this.draw(); });
    canvas.addEventListener("focus", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)")
      .addEventListener("change", () => this.draw());
  }

  key(event) {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
      ArrowDown: [0, 1]};
    const move = moves[event.key];
    if (move) {
      this.cursor = this.cursor.map((c, i) =>
        Math.min(0.95, Math.max(0.05, c + move[i] * STEP)));
      if (this.down) this.extend(this.cursor);
      else this.draw();
    } else if (event.key === " ") {
      this.down = !this.down;
      if (this.down) this.start(this.cursor);
      else this.draw();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
  }

  draw() {
    const {canvas, ground} = this, {width, height} = canvas;
    const ink = getComputedStyle(canvas).color, side = Math.min(width, height);
    const g = pen(canvas, (ground ? BRUSH : PEN * 1.15) * side, ink);
    g.clearRect(0, 0, width, height);
    g.fillStyle = ground || "transparent";
    g.fillRect(0, 0, width, height);
    for (const stroke of this.strokes) {
      if (ground) g.strokeStyle = stroke.colour;
      trace(g, stroke, (p) => [p[0] * width, p[1] * height]);
    }
    if (canvas.matches(":focus-visible")) this.drawCursor(g, width, height);
  }

  drawCursor(g, width, height) {
    g.lineWidth = 3;
    g.strokeStyle = getComputedStyle(canvasRoot()).getPropertyValue("--accent");
    g.beginPath();
    g.arc(this.cursor[0] * width, this.cursor[1] * height, this.down ? 8 : 14,
      0, 7);
    g.stroke();
  }
}

const canvasRoot = () => document.documentElement;
