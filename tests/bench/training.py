#!/usr/bin/env python3
"""make bench-training: what learning costs, beside the usual libraries.

1. Examples/s of single steps of SGD (batch of one), 784-128-10 and
   3072-100-10, on one core, without a server or a journal: soma's step.c,
   PyTorch (Debian), scikit-learn's MLPClassifier.partial_fit (Debian), River's
   and Vowpal Wabbit's nearest models (PyPI).
2. Time of an epoch over MNIST, 784-128-10, batch 64, all cores, and the
   accuracy after a few: soma train and PyTorch.

Interleaved rounds, medians. What is not there is named, not passed over.
Writes build/training.json.
"""
import gzip
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import time

from load import BUILD, ROUNDS

SHAPES = ((784, 128, 10), (3072, 100, 10))
WINDOW = float(os.environ.get("SECONDS", "2"))
EPOCHS = 5
MNIST = os.environ.get("MNIST", "data/mnist")
missing = {}


def examples(size, count=64):
    import numpy as np
    rng = np.random.default_rng(1)
    return (rng.random((count, size), np.float32) - 0.5,
            rng.integers(0, 10, count))


def rate(step):
    """Calls of step(i) a second, for a while."""
    for i in range(3):
        step(i)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < WINDOW:
        step(steps)
        steps += 1
    return steps / (time.perf_counter() - begin)


def soma(shape):
    text = subprocess.run([f"{BUILD}/tests/bench/step"], capture_output=True,
                          text=True, check=True).stdout
    for line in text.splitlines():
        fields = line.split()
        if tuple(map(int, fields[:3])) == shape:
            return float(fields[3])
    sys.exit("step.c does not know this shape")


def torch_steps(shape):
    import torch
    torch.set_num_threads(1)
    x, y = examples(shape[0])
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    net = torch.nn.Sequential(torch.nn.Linear(shape[0], shape[1]),
                              torch.nn.ReLU(),
                              torch.nn.Linear(shape[1], shape[2]))
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-4)
    loss = torch.nn.CrossEntropyLoss()

    def step(i):
        i %= 64
        optimiser.zero_grad()
        loss(net(x[i:i + 1]), y[i:i + 1]).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    return rate(step)


def sklearn_steps(shape):
    from sklearn.neural_network import MLPClassifier
    x, y = examples(shape[0])
    net = MLPClassifier((shape[1],), solver="sgd", learning_rate_init=1e-4,
                        batch_size=1, momentum=0, nesterovs_momentum=False)
    net.partial_fit(x[:1], y[:1], classes=list(range(10)))
    return rate(lambda i: net.partial_fit(x[i % 64:i % 64 + 1],
                                          y[i % 64:i % 64 + 1]))


def river_steps(shape):
    """Softmax regression: River's own networks are of PyTorch (deep-river)."""
    from river import linear_model, optim
    x, y = examples(shape[0])
    rows = [dict(enumerate(map(float, row))) for row in x]
    net = linear_model.SoftmaxRegression(optim.SGD(1e-4))
    return rate(lambda i: net.learn_one(rows[i % 64], int(y[i % 64])))


def vw_steps(shape):
    """One hidden layer by --nn; examples are parsed beforehand."""
    from vowpalwabbit import Workspace
    x, y = examples(shape[0])
    vw = Workspace(f"--oaa 10 --nn {shape[1]} --learning_rate 0.01 --quiet")
    rows = [vw.parse(f"{label + 1} | " + " ".join(
        f"{k}:{v:.4f}" for k, v in enumerate(row)))
        for row, label in zip(x, y)]
    return rate(lambda i: vw.learn(rows[i % 64]))


SYSTEM, VENV = "/usr/bin/python3", "build/training-venv/bin/python"

# Each in the interpreter that has it: Debian's, or the virtual environment.
PEERS = {"PyTorch": (SYSTEM, torch_steps),
         "scikit-learn": (SYSTEM, sklearn_steps),
         "River (linear)": (VENV, river_steps),
         "Vowpal Wabbit --nn": (VENV, vw_steps)}


def elsewhere(name, *arguments):
    """What this program prints when it is run for that alone, as JSON; None
    and a line in `missing` where the library is not there."""
    interpreter = PEERS[name][0]
    done = subprocess.run([interpreter, __file__, name, *map(str, arguments)],
                          capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    missing[name] = done.stderr.strip().splitlines()[-1]
    return None


def single_steps(report):
    print(f"\n{'single steps, one core':<22} "
          + " ".join(f"{'-'.join(map(str, s)):>13}" for s in SHAPES) + "  /s")
    names = ["soma", *PEERS]
    results = {name: {shape: [] for shape in SHAPES} for name in names}
    for _ in range(ROUNDS):
        for name in names:
            for shape in SHAPES:
                if name == "soma":
                    results[name][shape].append(soma(shape))
                elif name not in missing:
                    results[name][shape].append(elsewhere(name, *shape))
    for name, rows in results.items():
        if name in missing:
            continue
        middle = [statistics.median(rows[s]) for s in SHAPES]
        report["single_steps"][name] = middle
        print(f"{name:<22} " + " ".join(f"{m:>13.0f}" for m in middle))


def idx(name):
    with gzip.open(os.path.join(MNIST, name)) as file:
        data = file.read()
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
    import numpy as np
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def soma_epochs():
    out = "build/bench-mnist.safetensors"
    begin = time.perf_counter()
    subprocess.run([f"{BUILD}/soma", "train", "--dataset", MNIST, "--out", out,
                    "--hidden", "128", "--epochs", str(EPOCHS), "--batch",
                    "64"], capture_output=True, check=True)
    seconds = time.perf_counter() - begin
    text = subprocess.run([f"{BUILD}/soma", "evaluate", out,
                           "--dataset", MNIST], capture_output=True,
                          text=True, check=True).stdout
    return seconds / EPOCHS, float(re.search(r"([\d.]+) ?%", text).group(1))


def torch_epochs():
    import numpy as np
    import torch
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(1)
    begin = time.perf_counter()
    x = torch.from_numpy(idx("train-images-idx3-ubyte.gz").reshape(
        -1, 784).astype(np.float32) / 255)
    y = torch.from_numpy(idx("train-labels-idx1-ubyte.gz").astype(np.int64))
    net = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(),
                              torch.nn.Linear(128, 10))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9,
                                nesterov=True)
    loss = torch.nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for i in range(0, len(x), 64):
            rows = order[i:i + 64]
            optimiser.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimiser.step()
    seconds = time.perf_counter() - begin
    x = torch.from_numpy(idx("t10k-images-idx3-ubyte.gz").reshape(
        -1, 784).astype(np.float32) / 255)
    y = idx("t10k-labels-idx1-ubyte.gz")
    right = (net(x).argmax(1).numpy() == y).mean() * 100
    return seconds / EPOCHS, float(right)


def epochs(report):
    if not os.path.isdir(MNIST):
        missing["epochs over MNIST"] = f"no {MNIST}; make data"
        return
    results = {"soma train": [], "PyTorch": []}
    for _ in range(ROUNDS):
        results["soma train"].append(soma_epochs())
        if "PyTorch" not in missing:
            results["PyTorch"].append(elsewhere("PyTorch", "epochs"))
    print(f"\n{EPOCHS} epochs of MNIST, 784-128-10, batch 64, all cores, "
          "reading included")
    for name, rows in results.items():
        if not rows or None in rows:
            continue
        seconds, accuracy = (statistics.median(c) for c in zip(*rows))
        report["epochs"][name] = {"seconds": seconds, "accuracy": accuracy}
        print(f"{name:<22} {seconds:>6.2f} s an epoch, {accuracy:.2f} % of the "
              "test set")


def main():
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{cores} cores, load {load:.2f}, {ROUNDS} rounds of {WINDOW:g} s, "
          "in turn")
    report = {"cores": cores, "load": load, "single_steps": {}, "epochs": {},
              "shapes": ["-".join(map(str, shape)) for shape in SHAPES],
              "not_measured": missing}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    single_steps(report)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(cores))
    epochs(report)
    for name, why in missing.items():
        print(f"NOT MEASURED: {name}: {why}")
    with open("build/training.json", "w") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(torch_epochs()))
    elif len(sys.argv) > 3:
        print(PEERS[sys.argv[1]][1](tuple(map(int, sys.argv[2:]))))
    else:
        main()
