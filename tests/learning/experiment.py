#!/usr/bin/env python3
"""Runs the experiment on MNIST: soma's learner, the same without the memory
of the model file, and plain SGD (experiment.c), over several orders of the
stream; soma on Fashion-MNIST; then the nearest models of River and Vowpal
Wabbit, which are first trained on MNIST's training set. Prints a line for each
stream, then for soma's ways the least and the most over the orders; draws the
curves of the first order to build/experiment.svg. Takes about four minutes, most
of them for the others.

The data: `make data`, or SOMA_TEST_DATA. PEERS=0 leaves the others out; SEEDS=n
(3) is the number of orders.
"""
import copy
import csv
import gzip
import os
import random
import subprocess
import sys

BUILD = os.environ.get("BUILD", "build/gcc")
DATA = os.environ.get("SOMA_TEST_DATA", "data") + "/mnist"
VENV = "build/training-venv"


FASHION = "/usr/share/datasets/fashion-mnist"
SEEDS = int(os.environ.get("SEEDS", "3"))


def run(name, way, data, figures):
    curves = "build/experiment.csv"
    for seed in range(1, SEEDS + 1):
        print(f"-- {name}, {way}, order {seed}", flush=True)
        args = [f"{BUILD}/tests/learning/experiment", way, str(seed),
                f"models/{name}.safetensors", data]
        if name == "mnist" and way in COLOURS and seed == 1:
            args.append(curves)
        done = subprocess.run(args, check=True, stdout=subprocess.PIPE,
                              text=True)
        print(done.stdout, end="", flush=True)
        for words in map(str.split, done.stdout.splitlines()):
            for figure, value in (w.split("=") for w in words[2:]):
                figures.setdefault((name, way, words[1]), {}).setdefault(
                    figure, []).append(float(value))


def summary(figures):
    print(f"-- least to most over {SEEDS} orders")
    for (name, way, stream_name), values in figures.items():
        print(f"{name:7s} {way:9s} {stream_name:12s} " + " ".join(
            f"{k}={min(v):g}..{max(v):g}" for k, v in values.items()))


def main():
    if not os.path.isdir(DATA):
        sys.exit(f"{DATA} is missing: make data")
    curves, figures = "build/experiment.csv", {}
    with open(curves, "w", encoding="ascii") as file:
        file.write("way,stream,examples,old,new\n")
    for way in ("soma", "no-memory", "sgd"):
        run("mnist", way, DATA, figures)
    run("fashion", "soma", FASHION, figures)
    run("fashion", "sgd", FASHION, figures)
    summary(figures)
    draw(curves, "build/experiment.svg")
    print("curves: build/experiment.svg")
    if os.environ.get("PEERS") == "0":
        return
    if not os.path.exists(f"{VENV}/bin/pip"):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([f"{VENV}/bin/pip", "install", "-q", "numpy", "river",
                    "vowpalwabbit"], check=True)
    subprocess.run([f"{VENV}/bin/python", __file__, "--peers"], check=True)


# ---- The curves ----

WIDTH, HEIGHT, LEFT, TOP = 300, 170, 40, 30
COLOURS = {"soma": "#1b6ca8", "sgd": "#c0392b"}


def line(rows, column, most, colour, dash):
    points = " ".join(
        f"{LEFT + (WIDTH - LEFT - 10) * int(r['examples']) / most:.1f},"
        f"{TOP + (HEIGHT - TOP - 25) * (1 - float(r[column]) / 100):.1f}"
        for r in rows)
    return (f'<polyline points="{points}" fill="none" stroke="{colour}" '
            f'stroke-width="1.5" stroke-dasharray="{dash}"/>')


def panel(name, rows, x):
    parts = [f'<g transform="translate({x},0)">',
             f'<text x="{LEFT}" y="18">{name}</text>']
    bottom = HEIGHT - 25
    for percent in (0, 50, 100):
        y = TOP + (bottom - TOP) * (1 - percent / 100)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y}" y2="{y}" '
                     f'stroke="#ddd"/><text x="4" y="{y + 4}">{percent}</text>')
    most = max(int(r["examples"]) for r in rows)
    parts.append(f'<text x="{WIDTH - 60}" y="{HEIGHT - 8}">{most}</text>')
    for way, colour in COLOURS.items():
        own = [r for r in rows if r["way"] == way]
        parts.append(line(own, "old", most, colour, ""))
        parts.append(line(own, "new", most, colour, "4 3"))
    return parts + ["</g>"]


def draw(source, target):
    with open(source, encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(r["stream"] for r in rows))
    parts = []
    for i, name in enumerate(names):
        parts += panel(name, [r for r in rows if r["stream"] == name],
                       i * WIDTH)
    legend = ("soma blue, plain SGD red; solid: accuracy in % on what it knew, "
              "dashed: on what is taught; across: examples")
    with open(target, "w", encoding="ascii") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 '
                   f'{WIDTH * len(names)} {HEIGHT + 20}" font-family="sans-serif'
                   f'" font-size="11"><rect width="100%" height="100%" '
                   f'fill="white"/>' + "\n".join(parts) +
                   f'<text x="{LEFT}" y="{HEIGHT + 12}">{legend}</text></svg>\n')


# ---- River and Vowpal Wabbit ----

def read(kind):
    def load(name, skip):
        with gzip.open(f"{DATA}/{kind}-{name}.gz") as file:
            return file.read()[skip:]
    pixels, labels = load("images-idx3-ubyte", 16), load("labels-idx1-ubyte", 8)
    return [(pixels[i * 784:(i + 1) * 784], label)
            for i, label in enumerate(labels)]


def inverted(image):
    return bytes(255 - v for v in image)


def swapped(label):
    return {4: 9, 9: 4}.get(label, label)


class River:
    """Softmax regression, the nearest that River has."""
    name = "river"

    def __init__(self):
        from river import linear_model, optim
        self.model = linear_model.SoftmaxRegression(optimizer=optim.SGD(0.05))

    @staticmethod
    def features(image):
        return {i: v / 255 for i, v in enumerate(image) if v}

    def learn(self, image, label):
        self.model.learn_one(self.features(image), label)

    def predict(self, image):
        return self.model.predict_one(self.features(image))

    def copy(self):
        return copy.deepcopy(self)


class VowpalWabbit:
    """One against all over a net of 64 hidden units."""
    name = "vw"

    def __init__(self, model=None):
        import vowpalwabbit
        self.new = vowpalwabbit.Workspace
        options = f"-i {model}" if model else "--oaa 10 --nn 64 -b 18 -l 0.1"
        self.vw = self.new(options + " --quiet")

    @staticmethod
    def features(image):
        return " ".join(f"{i}:{v / 255:.3f}" for i, v in enumerate(image) if v)

    def learn(self, image, label):
        self.vw.learn(f"{label + 1} | {self.features(image)}")

    def predict(self, image):
        return int(self.vw.predict(f"| {self.features(image)}")) - 1

    def copy(self):
        self.vw.save("build/vw.model")
        return VowpalWabbit("build/vw.model")


def accuracy(model, test, change=None, label=None, only=None):
    chosen = [(i, l) for i, l in test if only is None or only(l)]
    right = sum(model.predict(change(i) if change else i) ==
                (label(l) if label else l) for i, l in chosen)
    return 100 * right / len(chosen)


def stream(model, train, count, change=None, label=None, only=None):
    model = model.copy()
    chosen = (x for x in train if only is None or only(x[1]))
    for _, (image, right) in zip(range(count), chosen):
        model.learn(change(image) if change else image,
                    label(right) if label else right)
    return model


def peers():
    train, test = read("train"), read("t10k")
    random.seed(1)
    random.shuffle(train)
    test = random.sample(test, 4000)  # these are slow
    for kind in (River, VowpalWabbit):
        base = kind()
        for image, label in train:
            base.learn(image, label)
        old = accuracy(base, test)
        random.shuffle(train)
        print(f"{kind.name:7s} base      {old:.2f} %", flush=True)
        after = stream(base, train, 1000, change=inverted)
        print(f"{kind.name:7s} inverted  old loses "
              f"{old - accuracy(after, test):.2f}, new "
              f"{accuracy(after, test, change=inverted):.2f} %", flush=True)
        after = stream(base, train, 1000, only=lambda l: l == 3)
        print(f"{kind.name:7s} all-3     old loses "
              f"{old - accuracy(after, test):.2f}", flush=True)
        after = stream(base, train, 3000)
        print(f"{kind.name:7s} ordinary  old loses "
              f"{old - accuracy(after, test):.2f}", flush=True)
        after = stream(base, train, 3000, label=swapped)
        others = lambda l: l not in (4, 9)
        print(f"{kind.name:7s} swapped   new labels "
              f"{accuracy(after, test, label=swapped, only=lambda l: l in (4, 9)):.2f} %, overall "
              f"{accuracy(after, test, label=swapped):.2f} %, others lose "
              f"{accuracy(base, test, only=others) - accuracy(after, test, only=others):.2f}",
              flush=True)


if __name__ == "__main__":
    peers() if "--peers" in sys.argv else main()
