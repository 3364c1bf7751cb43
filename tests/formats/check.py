"""Imports what the exporters wrote and compares soma's answers, over HTTP,
with those of ONNX Runtime; exports soma's models and compares again.

    check.py SOMA FOLDER    ends with "N passed, N failed"
"""
import json
import pathlib
import re
import subprocess
import sys
import urllib.request

import numpy as np
import onnxruntime

from images import fashion

soma, folder = sys.argv[1], pathlib.Path(sys.argv[2])
models = folder / "models"
TOLERANCE = 1e-5
passed, failed, largest = 0, 0, {}
random = np.random.default_rng(7)


def ok(name, good, text=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f"FAILED {name}: {text}")


def run(*arguments):
    done = subprocess.run([soma, *map(str, arguments)], text=True,
                          capture_output=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


class Server:
    def __enter__(self):
        self.process = subprocess.Popen(
            [soma, "serve", "--listen", "127.0.0.1:0", "--models", models],
            stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        self.url = re.search(r"http://[\d.:]+", line).group()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=30)

    def ask(self, path, body=None, kind="application/json"):
        request = urllib.request.Request(self.url + path, body,
                                         {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def predict(self, name, x):
        body = json.dumps({"pixels": x.reshape(len(x), -1).tolist()}).encode()
        answer = self.ask(f"/models/{name}/predict", body)["predictions"]
        key = "scores" if "scores" in answer[0] else "probabilities"
        return np.array([one[key] for one in answer])


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def runtime(path, x):
    """ONNX Runtime's answer that is not a label, one row for each of x."""
    session = onnxruntime.InferenceSession(str(path))
    entry = session.get_inputs()[0]
    kinds = {"tensor(float16)": np.float16, "tensor(double)": np.float64,
             "tensor(uint8)": np.uint8}
    x = x.astype(kinds.get(entry.type, np.float32))
    shape = [d if isinstance(d, int) else -1 for d in entry.shape]
    if len(shape) == 1 or (shape[0] > 0 and shape[0] != len(x)):
        step = 1 if len(shape) == 1 else shape[0]
        outputs = [session.run(None, {entry.name: x[i:i + step].reshape(shape)})
                   for i in range(0, len(x) - len(x) % step, step)]
        return np.concatenate([np.reshape(o[0], (step, -1)) for o in outputs])
    outputs = session.run(None, {entry.name: x.reshape(shape)})
    if isinstance(outputs[-1], list):  # ZipMap
        return np.array([list(row.values()) for row in outputs[-1]])
    names = [o.name for o in session.get_outputs()]
    if names[-1] == "i9":  # a column for each class
        return np.stack(outputs[1:], 1).reshape(len(x), -1)
    return np.reshape(outputs[-1], (len(x), -1))


def expected(kind, y):
    if kind == "softmax":
        return softmax(y.astype(np.float64))
    if kind == "exp":
        return np.exp(y.astype(np.float64))
    return np.hstack([1 - y, y]) if kind == "two" else y


def compare(name, got, want, group, tolerance=TOLERANCE):
    if got.shape != want.shape:
        ok(name, False, f"shape {got.shape}, ONNX Runtime's {want.shape}")
        return
    scale = np.maximum(1, np.abs(want))
    worst = float(np.max(np.abs(got - want) / scale))
    largest[group] = max(largest.get(group, 0), worst)
    ok(name, worst <= tolerance, f"differs by {worst:.2g}")


def inputs(entry, how):
    """Random ones in the model's range, and the real ones."""
    low, high = entry["input"]["range"]
    size = int(np.prod(entry["input"]["shape"]))
    x = random.uniform(low, high, (32, size)).astype(np.float32)
    if high == 255 and how["scale"] == 1:
        x = np.floor(x)
    if how["real"]:
        real = np.load(folder / how["real"])
        x = np.vstack([x, real.reshape(len(real), -1)])
    return x


def check_import(server, path, how):
    name = path.stem
    entry = server.ask(f"/models/{name}")
    x = inputs(entry, how)
    theirs = x / np.float32(how["scale"])
    if "--planes" in how["options"]:
        c, h, w = entry["input"]["shape"]
        theirs = x.reshape(-1, c, h, w).transpose(0, 2, 3, 1)
    want = expected(how["answer"], runtime(path, theirs))
    group = ("skl2onnx" if name.startswith("sk_") else
             "Keras" if name.startswith("keras") else "PyTorch")
    # Half floats are ONNX Runtime's arithmetic then, soma's is float32.
    tolerance = 2e-3 if name.startswith("half") else TOLERANCE
    compare(name, server.predict(name, x)[:len(want)], want,
            group if tolerance == TOLERANCE else "PyTorch, 16 bits", tolerance)
    if how["classes"]:
        ok(f"{name}: names", entry["classes"] == how["classes"],
           entry.get("classes"))


def check_export(server, name):
    """soma's model in ONNX Runtime, and read back by soma."""
    path = folder / f"exported-{name}.onnx"
    code, text = run("export", models / f"{name}.safetensors", path)
    ok(f"export {name}", code == 0, text)
    x = inputs(server.ask(f"/models/{name}"), {"scale": 1, "real": None})
    compare(f"export {name}", server.predict(name, x), runtime(path, x),
            "exported")
    back = folder / "back.safetensors"
    run("import", path, back)
    digests = [re.search(r"digest +(\S+)", run("inspect", file)[1]).group(1)
               for file in (back, models / f"{name}.safetensors")]
    ok(f"export {name} and import", digests[0] == digests[1], "other weights")


def check_state_dicts(server):
    """PyTorch to soma; soma to PyTorch."""
    import torch
    from safetensors.torch import load_file
    x = np.load(folder / "torch_real_script.npy")
    compare("state_dict in", server.predict("state_dict", x),
            np.load(folder / "state_dict.answers.npy"), "state_dict")
    for name, net in {
            "mnist": torch.nn.Sequential(
                torch.nn.Linear(784, 128), torch.nn.ReLU(),
                torch.nn.Linear(128, 10)),
            "cifar10": torch.nn.Sequential(
                torch.nn.Linear(3072, 100), torch.nn.ReLU(),
                torch.nn.Linear(100, 10))}.items():
        path = folder / f"{name}-state_dict.safetensors"
        run("export", models / f"{name}.safetensors", path)
        net.load_state_dict(load_file(path))
        x = inputs(server.ask(f"/models/{name}"), {"scale": 1, "real": None})
        with torch.no_grad():
            want = net(torch.tensor(x)).softmax(1).numpy()
        compare(f"state_dict out {name}", server.predict(name, x), want,
                "state_dict")
    # The whole model file is safetensors as well.
    tensors = load_file(models / "mnist.safetensors")
    ok("model file in PyTorch",
       tensors["layers.0.weight"].shape == (128, 784), "shape")


def check_arrays(server):
    """NumPy's own files: as bodies of requests, and as datasets."""
    import io
    images, labels = fashion(200, train=False)
    want = server.predict("fashion", images)
    right = int((want.argmax(1) == labels).sum())
    forms = {"uint8": images.astype(np.uint8), "int16": images.astype(np.int16),
             "int64": images.astype(np.int64), "float16": images.astype("f2"),
             "float32": images, "float64": images.astype(np.float64),
             "big-endian": images.astype(">f4"),
             "columns first": np.asfortranarray(images),
             "flat": images.reshape(200, 784)}
    for name, array in forms.items():
        body = io.BytesIO()
        np.save(body, array)
        answer = server.ask("/models/fashion/predict", body.getvalue(),
                            "application/x-npy")["predictions"]
        ok(f"npy {name}", np.array_equal(
            [one["probabilities"] for one in answer], want), "other answers")
    body = io.BytesIO()
    np.lib.format.write_array(body, images[0], version=(2, 0))
    answer = server.ask("/models/fashion/predict", body.getvalue(),
                        "application/x-npy")
    ok("npy 2.0, one image", answer["probabilities"] == want[0].tolist(),
       answer)
    datasets = {
        "arrays.npz": lambda file: np.savez(file, images=images, labels=labels),
        "packed.npz": lambda file: np.savez_compressed(
            file, x=images.astype(np.uint8), y=labels.astype(np.uint8)),
        "x.npy": lambda file: np.save(file, images)}
    np.save(folder / "answers.npy", labels)
    for name, write in datasets.items():
        write(folder / name)
        options = ["--labels", folder / "answers.npy"] * (name == "x.npy")
        code, text = run("evaluate", models / "fashion.safetensors", "--json",
                         "--dataset", folder / name, *options)
        seen = json.loads(text) if code == 0 else {}
        ok(f"evaluate {name}", seen.get("examples") == 200 and
           round(seen.get("accuracy", 0) * 200) == right, text)


def train(out, *arguments):
    rows = folder / "table.csv"
    if not rows.exists():
        table = random.normal(size=(400, 7))
        table[:, 0] = (table[:, 1:3].sum(1) > 0) + (table[:, 3] > 1)
        np.savetxt(rows, table, delimiter=",", fmt="%g")
    code, text = run("train", "--dataset", rows, "--epochs", 3, "--out", out,
                     *arguments)
    ok(f"train {out.stem}", code == 0, text)


def prepare():
    """Everything into models/; returns what is to be compared."""
    models.mkdir(exist_ok=True)
    waiting = []
    for path in sorted(folder.glob("*.onnx")):
        if path.name.startswith("exported-"):
            continue
        how = json.loads(path.with_suffix(".json").read_text())
        code, text = run("import", path, models / f"{path.stem}.safetensors",
                         *how["options"])
        if how["refused"]:
            words = how["refused"]
            ok(path.stem, code in (1, 2) and all(
                word in text for word in
                ([words] if isinstance(words, str) else words)), text)
        elif code:
            ok(path.stem, False, text)
        else:
            waiting.append((path, how))
    code, text = run("import", folder / "state_dict.safetensors",
                     models / "state_dict.safetensors", "--activation", "relu",
                     "--shape", "28x28", "--scale", "255")
    ok("import of a state_dict", code == 0, text)
    for kind in ("sigmoid", "tanh", "leaky_relu", "maxout", "identity"):
        for loss in ("softmax_cross_entropy", "multiclass_hinge"):
            train(models / f"{kind}-{loss}.safetensors", "--activation", kind,
                  "--hidden", "9,5", "--loss", loss, "--pieces", 3)
    for path in pathlib.Path("models").glob("*.safetensors"):
        (models / path.name).write_bytes(path.read_bytes())
    return waiting


waiting = prepare()
with Server() as server:
    for path, how in waiting:
        check_import(server, path, how)
    own = [p.stem for p in sorted(models.glob("*.safetensors"))
           if "-" in p.stem or p.stem in ("mnist", "fashion", "cifar10",
                                          "neuron")]
    for name in own:
        check_export(server, name)
    check_state_dicts(server)
    check_arrays(server)
for group, worst in largest.items():
    print(f"{group}: largest difference {worst:.2g}")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
