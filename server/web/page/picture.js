// Pictures: from a file, the clipboard or a drag, into a model's pixels; and
// pixels onto a canvas.

// {side or width/height, channels}: how a model's input looks; null: it is no
// picture.
export function lookOf(model) {
  const shape = model.input.shape;
  if (shape.length === 3 && (shape[0] === 1 || shape[0] === 3))
    return {channels: shape[0], height: shape[1], width: shape[2]};
  if (shape.length === 2)
    return {channels: 1, height: shape[0], width: shape[1]};
  const side = Math.round(Math.sqrt(shape[0]));
  return shape.length === 1 && side > 3 && side * side === shape[0]
    ? {channels: 1, height: side, width: side} : null;
}

// Values of 0 to 1, channel by channel, of a picture fitted into the model's.
export async function pixelsOfPicture(source, look) {
  const bitmap = await createImageBitmap(source);
  const {width, height, channels} = look;
  const canvas = new OffscreenCanvas(width, height);
  const g = canvas.getContext("2d");
  const scale = Math.min(width / bitmap.width, height / bitmap.height);
  const w = bitmap.width * scale, h = bitmap.height * scale;
  const light = edgeOf(bitmap);
  g.fillStyle = `rgb(${light},${light},${light})`;
  g.fillRect(0, 0, width, height);
  g.imageSmoothingQuality = "high";
  g.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
  const rgba = g.getImageData(0, 0, width, height).data;
  const size = width * height;
  const pixels = new Float32Array(size * channels);
  for (let i = 0; i < size; i++) {
    const [r, g_, b] = rgba.slice(i * 4, i * 4 + 3);
    if (channels === 3) {
      pixels[i] = r / 255;
      pixels[size + i] = g_ / 255;
      pixels[2 * size + i] = b / 255;
    } else {
      const grey = (0.299 * r + 0.587 * g_ + 0.114 * b) / 255;
      // Ink on white paper becomes light on black, as such models know it.
      pixels[i] = light > 127 ? 1 - grey : grey;
    }
  }
  return pixels;
}

// How light a picture's edge is, 0 to 255.
function edgeOf(bitmap) {
  const n = 16;
  const g = new OffscreenCanvas(n, n).getContext("2d");
  g.drawImage(bitmap, 0, 0, n, n);
  const rgba = g.getImageData(0, 0, n, n).data;
  let sum = 0, count = 0;
  for (let i = 0; i < n * n; i++) {
    const x = i % n, y = (i - x) / n;
    if (x && y && x < n - 1 && y < n - 1) continue;
    const at = i * 4, clear = 255 - rgba[at + 3];
    sum += (rgba[at] + rgba[at + 1] + rgba[at + 2]) / 3 + clear;
    count++;
  }
  return Math.round(Math.min(255, sum / count));
}

// Paints values of 0 to 1 on a canvas, which takes the look's size.
export function paint(canvas, pixels, look) {
  const {width, height, channels} = look;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const g = canvas.getContext("2d");
  const image = g.createImageData(width, height);
  const size = width * height;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++)
      image.data[i * 4 + c] = 255 * pixels[channels === 3 ? c * size + i : i];
    image.data[i * 4 + 3] = 255;
  }
  g.putImageData(image, 0, 0);
}

// [type, body] of a request with these pictures.
export function bodyOf(model, pictures) {
  const [low, high] = model.input.range;
  if (low === 0 && high === 255) {
    const size = pictures[0].length;
    const bytes = new Uint8Array(size * pictures.length);
    pictures.forEach((p, i) => bytes.set(p.map((v) => Math.round(v * 255)),
      i * size));
    return ["application/octet-stream", bytes];
  }
  const list = pictures.map((p) => Array.from(p, (v) => low + v * (high - low)));
  return ["application/json", {pixels: list.length > 1 ? list : list[0]}];
}

// The model's numbers as values of 0 to 1.
export function unitOf(model, numbers) {
  const [low, high] = model.input.range;
  return Float32Array.from(numbers, (v) => (v - low) / (high - low));
}
