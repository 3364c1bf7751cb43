// A model's own arithmetic, done once more here to be looked at: each layer's
// activations, and which pixels spoke for and against an answer.
import {bytes, modelPath} from "./net.js";

// The weights in force: [{outs, ins, pieces, weight, bias, activation, slope}]
// and the version that was asked about.
export async function weightsOf(model) {
  const data = await bytes(modelPath(model, "/weights"));
  const size = Number(new DataView(data).getBigUint64(0, true));
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 8, size)));
  const floats = (name) => {
    const {dtype, data_offsets: [from, to]} = head[name];
    if (dtype !== "F32") throw new Error(`${name} is ${dtype}`);
    return new Float32Array(data.slice(8 + size + from, 8 + size + to));
  };
  return model.layers.map((layer, i) => {
    const shape = head[`layers.${i}.weight`].shape;
    return {...layer, outs: layer.units, ins: shape.at(-1),
      pieces: shape.length === 3 ? shape[0] : 1,
      weight: floats(`layers.${i}.weight`), bias: floats(`layers.${i}.bias`)};
  });
}

const one = (list, c) => list ? list[list.length > 1 ? c : 0] : undefined;

// Values of 0 to 1 as they enter the first layer.
function enter(model, pixels) {
  const {range: [low, high], mean, std, shape} = model.input;
  const area = pixels.length / (shape.length === 3 ? shape[0] : 1);
  return pixels.map((v, i) => {
    const c = Math.floor(i / area);
    return (low + v * (high - low) - (one(mean, c) ?? 0)) / (one(std, c) ?? 1);
  });
}

const ACTIVATIONS = {
  relu: [(z) => Math.max(0, z), (a) => a > 0 ? 1 : 0],
  leaky_relu: [(z, s) => z > 0 ? z : s * z, (a, s) => a > 0 ? 1 : s],
  sigmoid: [(z) => 1 / (1 + Math.exp(-z)), (a) => a * (1 - a)],
  tanh: [Math.tanh, (a) => 1 - a * a],
  identity: [(z) => z, () => 1],
  maxout: [(z) => z, () => 1],
};

// One layer's outputs, and for maxout which piece gave each.
function through({outs, ins, pieces, weight, bias, activation, slope = 0.01}, x) {
  const [f] = ACTIVATIONS[activation];
  const a = new Float32Array(outs).fill(-Infinity);
  const chosen = new Uint8Array(outs);
  for (let k = 0; k < pieces; k++)
    for (let j = 0; j < outs; j++) {
      let z = bias[k * outs + j];
      const row = (k * outs + j) * ins;
      for (let i = 0; i < ins; i++) z += weight[row + i] * x[i];
      const value = f(z, slope);
      if (k === 0 || value > a[j]) {
        a[j] = value;
        chosen[j] = k;
      }
    }
  return {a, chosen};
}

export function run(model, layers, pixels) {
  const steps = [];
  let x = enter(model, pixels);
  for (const layer of layers) {
    steps.push(through(layer, x));
    x = steps.at(-1).a;
  }
  return steps;
}

// Input gradient times input: what each value adds to the score of `label`.
export function spoke(model, layers, pixels, steps, label) {
  let gradient = new Float32Array(layers.at(-1).outs);
  if (gradient.length > 1) gradient[label] = 1;
  else gradient[0] = label ? 1 : -1;
  for (let l = layers.length - 1; l >= 0; l--) {
    const {outs, ins, weight, activation, slope = 0.01} = layers[l];
    const {a, chosen} = steps[l];
    const back = new Float32Array(ins);
    for (let j = 0; j < outs; j++) {
      const g = gradient[j] * ACTIVATIONS[activation][1](a[j], slope);
      if (g === 0) continue;
      const row = (chosen[j] * outs + j) * ins;
      for (let i = 0; i < ins; i++) back[i] += g * weight[row + i];
    }
    gradient = back;
  }
  const {std, shape} = model.input;
  const area = pixels.length / (shape.length === 3 ? shape[0] : 1);
  return gradient.map((g, i) =>
    g * pixels[i] / (one(std, Math.floor(i / area)) ?? 1));
}

// Of a layer's units, those that every picture leaves silent, and those that
// every picture drives to the end of their range. `runs`: [pictures][units].
export function conditions(activation, runs) {
  const limits = {relu: [(a) => a <= 0, null],
    sigmoid: [null, (a) => a < 0.02 || a > 0.98],
    tanh: [null, (a) => Math.abs(a) > 0.98]};
  const [dead, full] = limits[activation] || [null, null];
  const every = (is) => is ? Array.from(runs[0], (_, j) => j)
    .filter((j) => runs.every((a) => is(a[j]))) : [];
  return {dead: new Set(every(dead)), saturated: new Set(every(full))};
}
