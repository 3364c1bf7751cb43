#!/usr/bin/env python3
"""Writes golden.inc: what small networks must compute, in float64 by NumPy.

    python3 make_golden.py > golden.inc

Nothing of soma is used: weights are [out, in] rows, the formulas those of the
papers and of the CS231n notes. All numbers that go in (weights, inputs,
settings) are rounded to float32 first, so that both sides start equal. Points
near a kink (relu, maxout, hinge), where a last bit decides the gradient, are
drawn again.
"""
import textwrap

import numpy as np

MARGIN = 1e-2  # the least distance from any kink


def single(values):
    """Rounded to float32, kept as float64."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


class Layer:
    def __init__(self, units, activation, pieces=1, slope=0.0):
        self.units, self.activation = units, activation
        self.pieces, self.slope = pieces, float(single(slope))


class Kink(Exception):
    pass


def keep_off(distances):
    if np.size(distances) and np.min(np.abs(distances)) < MARGIN:
        raise Kink


def activate(layer, z):
    """a and a function from dL/da to dL/dz."""
    kind = layer.activation
    if kind == "identity":
        return z, lambda da: da
    if kind == "sigmoid":
        a = 1 / (1 + np.exp(-z))
        return a, lambda da: da * a * (1 - a)
    if kind == "tanh":
        a = np.tanh(z)
        return a, lambda da: da * (1 - a**2)
    if kind == "relu":
        keep_off(z)
        return np.maximum(z, 0), lambda da: da * (z > 0)
    if kind == "leaky_relu":
        keep_off(z)
        factor = np.where(z > 0, 1.0, layer.slope)
        return z * factor, lambda da: da * factor
    assert kind == "maxout"
    split = z.reshape(len(z), layer.pieces, layer.units)
    ranked = np.sort(split, axis=1)
    keep_off(ranked[:, -1] - ranked[:, -2])
    winner = split == split.max(axis=1, keepdims=True)
    return split.max(axis=1), lambda da: (
        winner * da[:, None, :]).reshape(z.shape)


def evaluate(loss, smoothing, s, labels):
    """Answers, the loss of each row and its gradient."""
    n, k = s.shape
    if loss == "softmax_cross_entropy":
        e = np.exp(s - s.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        t = np.full((n, k), smoothing / k)
        t[np.arange(n), labels] += 1 - smoothing
        return p, -(t * np.log(p)).sum(axis=1), p - t
    if loss == "multiclass_hinge":
        margins = s - s[np.arange(n), labels][:, None] + 1
        margins[np.arange(n), labels] = -1
        keep_off(margins)
        d = (margins > 0).astype(float)
        d[np.arange(n), labels] = -d.sum(axis=1)
        return s, np.maximum(margins, 0).sum(axis=1), d
    y = labels[:, None]
    if loss == "logistic":
        p = 1 / (1 + np.exp(-s))
        t = y * (1 - smoothing) + smoothing / 2
        each = -(t * np.log(p) + (1 - t) * np.log(1 - p))
        return np.hstack([1 - p, p]), each[:, 0], p - t
    assert loss == "hinge"
    sign = 2.0 * y - 1
    margin = 1 - sign * s
    keep_off(margin)
    return s, np.maximum(margin, 0)[:, 0], np.where(margin > 0, -sign, 0.0)


class Net:
    def __init__(self, name, shape, layers, loss, smoothing=0.0, normals=0,
                 rows=3, sgd=None):
        self.name, self.shape, self.layers = name, shape, layers
        self.loss, self.smoothing = loss, float(single(smoothing))
        self.normals, self.rows, self.sgd = normals, rows, sgd

    def draw(self, rng):
        self.size = int(np.prod(self.shape))
        self.x = single(rng.uniform(-2, 2, (self.rows, self.size)))
        classes = max(2, self.layers[-1].units)
        self.labels = rng.integers(0, classes, self.rows)
        self.mean = single(rng.uniform(-1, 1, self.normals))
        self.std = single(rng.uniform(0.5, 2, self.normals))
        self.params, fan_in = [], self.size
        for layer in self.layers:
            out = layer.units * layer.pieces
            bound = 2 / np.sqrt(fan_in)
            self.params.append(single(rng.uniform(-bound, bound,
                                                  (out, fan_in))))
            self.params.append(single(rng.uniform(-0.5, 0.5, out)))
            fan_in = layer.units

    def run(self, params):
        """Scores, answers, mean loss, gradients in the order of params."""
        a = self.x
        if self.normals:
            channels = a.reshape(self.rows, self.normals, -1)
            a = ((channels - self.mean[:, None]) / self.std[:, None]).reshape(
                self.x.shape)
        entered, backward = [], []
        for i, layer in enumerate(self.layers):
            entered.append(a)
            a, back = activate(layer, a @ params[2 * i].T + params[2 * i + 1])
            backward.append(back)
        answers, losses, d = evaluate(self.loss, self.smoothing, a,
                                      self.labels)
        d = d / self.rows
        grads = [None] * len(params)
        for i in reversed(range(len(self.layers))):
            d = backward[i](d)
            grads[2 * i], grads[2 * i + 1] = d.T @ entered[i], d.sum(axis=0)
            d = d @ params[2 * i]
        return a, answers, losses.mean(), grads

    def descend(self):
        """Losses before each step, and weights and velocity after all."""
        rate, momentum, l2, clip = (
            float(single(self.sgd[k])) for k in ("rate", "momentum", "l2",
                                                 "clip"))
        params = [p.copy() for p in self.params]
        velocity = [np.zeros_like(p) for p in params]
        losses = []
        for _ in range(self.sgd["steps"]):
            _, _, loss, grads = self.run(params)
            losses.append(loss)
            norm = np.sqrt(sum((g**2).sum() for g in grads))
            scale = clip / norm if 0 < clip < norm else 1.0
            for i, g in enumerate(grads):
                g = g * scale
                if i % 2 == 0:  # weights, not biases
                    params[i] *= 1 - rate * l2
                if momentum == 0:
                    params[i] -= rate * g
                    continue
                before = velocity[i]
                velocity[i] = momentum * before - rate * g
                if self.sgd["nesterov"]:  # CS231n's form
                    params[i] += -momentum * before + (
                        1 + momentum) * velocity[i]
                else:
                    params[i] += velocity[i]
        return losses, params, velocity


def literal(value):
    """A C float32."""
    text = f"{value:.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def fill(kind, values):
    """A C array of all numbers in a list of arrays."""
    flat = np.concatenate([np.ravel(v) for v in values] or [[]])
    if not flat.size:
        return "NULL"
    each = literal if kind == "float" else "{:.9g}".format
    text = ", ".join(each(v) for v in flat)
    return f"({kind}[]){{\n" + textwrap.fill(text, 78) + "}"


def write(net, seed):
    while True:
        net.draw(np.random.default_rng(seed))
        try:
            scores, answers, loss, grads = net.run(net.params)
            moved = net.descend() if net.sgd else None
            if all(np.abs(g).max() > 1e-3 for g in grads):
                break
        except Kink:
            pass
        seed += 1000
    layers = ", ".join(
        f'{{{l.units}, "{l.activation}", {l.pieces}, {literal(l.slope)}}}'
        for l in net.layers)
    shape = ", ".join(str(s) for s in net.shape)
    print(f'{{.name = "{net.name}", .rank = {len(net.shape)},')
    print(f" .shape = {{{shape}}}, .normals = {net.normals},")
    print(f" .depth = {len(net.layers)}, .layers = {{")
    print(textwrap.fill(layers, 78) + "},")
    print(f' .loss = "{net.loss}", .smoothing = {literal(net.smoothing)},')
    print(f" .rows = {net.rows}, .x = {fill('float', [net.x])},")
    print(f" .labels = {fill('int', [net.labels])},")
    if net.normals:
        print(f" .mean = {fill('float', [net.mean])},")
        print(f" .std = {fill('float', [net.std])},")
    print(f" .params = {fill('float', net.params)},")
    print(f" .scores = {fill('double', [scores])},")
    print(f" .answers = {fill('double', [answers])},")
    print(f" .mean_loss = {loss:.9g},")
    if moved:
        s = net.sgd
        print(f" .sgd = {{.rate = {literal(s['rate'])},")
        print(f"         .momentum = {literal(s['momentum'])},")
        print(f"         .nesterov = {str(s['nesterov']).lower()},")
        print(f"         .l2 = {literal(s['l2'])},")
        print(f"         .clip = {literal(s['clip'])}}},")
        print(f" .steps = {s['steps']},")
        print(f" .losses = {fill('double', [moved[0]])},")
        print(f" .after = {fill('double', moved[1])},")
        if s["momentum"]:
            print(f" .velocity = {fill('double', moved[2])},")
    print(f" .grads = {fill('double', grads)}}},\n")


ACTIVATIONS = [("identity", 1, 0), ("sigmoid", 1, 0), ("tanh", 1, 0),
               ("relu", 1, 0), ("leaky_relu", 1, 0.1), ("maxout", 2, 0),
               ("maxout", 3, 0)]
LOSSES = ["softmax_cross_entropy", "logistic", "hinge", "multiclass_hinge"]


def outputs(loss):
    return 1 if loss in ("logistic", "hinge") else 3


def nets():
    for kind, pieces, slope in ACTIVATIONS:
        for loss in LOSSES:
            name = f"{kind}{pieces if pieces > 1 else ''} and {loss}"
            last = outputs(loss)
            yield Net(f"hidden {name}", [5],
                      [Layer(4, kind, pieces, slope), Layer(last, "identity")],
                      loss)
            yield Net(f"output {name}", [4], [Layer(last, kind, pieces, slope)],
                      loss, rows=4)
    for loss in ("softmax_cross_entropy", "logistic"):
        for smoothing in (0.1, 0.5):
            yield Net(f"smoothing {smoothing} and {loss}", [4],
                      [Layer(5, "tanh"), Layer(outputs(loss), "identity")],
                      loss, smoothing, rows=4)
    yield Net("one neuron", [1], [Layer(1, "identity")], "logistic", rows=5)
    yield Net("three layers", [6], [
        Layer(5, "relu"), Layer(4, "maxout", 3), Layer(4, "identity")
    ], "softmax_cross_entropy", 0.1, rows=5)
    yield Net("eight layers", [4], [
        Layer(4, "tanh"), Layer(3, "leaky_relu", 1, 0.2),
        Layer(4, "maxout", 2), Layer(3, "sigmoid"), Layer(4, "identity"),
        Layer(3, "tanh"), Layer(5, "relu"), Layer(3, "identity")
    ], "multiclass_hinge", rows=4)
    yield Net("two panels", [3], [Layer(70, "tanh"), Layer(2, "identity")],
              "softmax_cross_entropy", rows=2)
    yield Net("mean and std of each channel", [3, 2, 2],
              [Layer(4, "tanh"), Layer(3, "identity")],
              "softmax_cross_entropy", normals=3)
    yield Net("one mean and std", [2, 3], [Layer(1, "identity")], "hinge",
              normals=1)
    yield Net("mean and std of each value", [4], [Layer(3, "identity")],
              "multiclass_hinge", normals=4)
    plain = {"rate": 0.1, "momentum": 0, "nesterov": False, "l2": 0,
             "clip": 0, "steps": 6}
    for name, change in (("plain", {}), ("L2", {"l2": 0.05}),
                         ("clip", {"rate": 0.5, "clip": 0.25}),
                         ("momentum", {"momentum": 0.9}),
                         ("momentum, L2 and clip", {"momentum": 0.5,
                                                    "l2": 0.1, "clip": 0.2}),
                         ("Nesterov", {"momentum": 0.9, "nesterov": True}),
                         ("Nesterov, L2 and clip", {"momentum": 0.9,
                                                    "nesterov": True,
                                                    "l2": 0.01,
                                                    "clip": 0.5})):
        for loss in ("softmax_cross_entropy", "hinge"):
            yield Net(f"SGD: {name}, {loss}", [4],
                      [Layer(4, "tanh"), Layer(outputs(loss), "identity")],
                      loss, rows=4, sgd={**plain, **change})


print("/* Made by make_golden.py; see test_golden.c for the fields. */")
for number, net in enumerate(nets()):
    write(net, number + 1)
