// Drawing: strokes in units of the paper (0 to 1), and their way into a
// model's pixels as MNIST made them: scaled into a box of 20 of 28 pixels,
// then moved so that the centre of mass is in the middle.

const FINE = 8; // times as fine as the model's pixels, then averaged
const BOX = 20 / 28;
const PEN = 2.3 / 28; // width of a line, of the model's picture
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

// Ink (0 to 1) of each of side x side pixels.
export function pixelsOf(strokes, side) {
  const points = strokes.flat();
  const pixels = new Float32Array(side * side);
  if (!points.length) return pixels;
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const left = Math.min(...xs), top = Math.min(...ys);
  const width = Math.max(...xs) - left, height = Math.max(...ys) - top;
  const full = side * FINE;
  const room = (BOX - PEN) * full;
  const scale = room / Math.max(width, height, 0.12);
  const canvas = new OffscreenCanvas(full, full);
  const g = pen(canvas, PEN * full, "#fff");
  for (const stroke of strokes)
    trace(g, stroke, ([x, y]) => [
      full / 2 + (x - left - width / 2) * scale,
      full / 2 + (y - top - height / 2) * scale]);
  return centred(g.getImageData(0, 0, full, full).data, full, side);
}

function centred(rgba, full, side) {
  let mass = 0, mx = 0, my = 0;
  for (let y = 0, at = 3; y < full; y++)
    for (let x = 0; x < full; x++, at += 4) {
      mass += rgba[at];
      mx += rgba[at] * x;
      my += rgba[at] * y;
    }
  const dx = Math.round(mx / mass - (full - 1) / 2);
  const dy = Math.round(my / mass - (full - 1) / 2);
  const pixels = new Float32Array(side * side);
  for (let y = 0; y < full; y++)
    for (let x = 0; x < full; x++) {
      const fx = x + dx, fy = y + dy;
      if (fx < 0 || fy < 0 || fx >= full || fy >= full) continue;
      const to = Math.floor(y / FINE) * side + Math.floor(x / FINE);
      pixels[to] += rgba[(fy * full + fx) * 4 + 3] / 255 / FINE / FINE;
    }
  return pixels;
}

// The paper. `changed` is called with each change; `begun` before the first
// stroke on a paper that showed something else.
export class Paper {
  constructor(canvas, changed, begun) {
    Object.assign(this, {canvas, changed, begun, strokes: []});
    this.cursor = [0.5, 0.5];
    this.down = false; // the pen that keys move
    this.listen();
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height];
  }

  start(point) {
    this.begun();
    this.strokes.push([point]);
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

  clear() {
    this.strokes = [];
    this.down = false;
    this.update();
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
    const canvas = this.canvas, size = canvas.width;
    const colour = getComputedStyle(canvas).color;
    const g = pen(canvas, PEN * size * 1.15, colour);
    g.clearRect(0, 0, size, size);
    for (const stroke of this.strokes)
      trace(g, stroke, (p) => [p[0] * size, p[1] * size]);
    if (canvas.matches(":focus-visible")) this.drawCursor(g, size);
  }

  drawCursor(g, size) {
    g.lineWidth = 3;
    g.strokeStyle = getComputedStyle(canvasRoot()).getPropertyValue("--accent");
    g.beginPath();
    g.arc(this.cursor[0] * size, this.cursor[1] * size, this.down ? 8 : 14,
      0, 7);
    g.stroke();
  }
}

const canvasRoot = () => document.documentElement;
