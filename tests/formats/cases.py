"""What an exporter's script hands to check.py: NAME.onnx and NAME.json.

The JSON says how the file is to be imported, and how its answers relate to
what ONNX Runtime says:

    same      probabilities or scores, as they are
    softmax   the file ends in scores, soma answers with their softmax
    exp       the file ends in log-probabilities
    two       the file ends in p, soma answers [1 - p, p]

or by which words the import is refused.
"""
import gzip
import json
import pathlib
import sys

import numpy as np

folder = pathlib.Path(sys.argv[1])
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def path(name):
    return str(folder / f"{name}.onnx")


def case(name, answer="same", options=(), refused=None, real=None, scale=1.0,
         classes=None):
    """real: a .npy in the folder, of inputs as clients send them."""
    (folder / f"{name}.json").write_text(json.dumps({
        "answer": answer, "options": list(options), "refused": refused,
        "real": real, "scale": scale, "classes": classes}))


def fashion(count, train=True):
    """Images [count, 28, 28] from 0 to 255, and labels."""
    stem = "train" if train else "t10k"
    images = gzip.decompress(
        (FASHION / f"{stem}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress(
        (FASHION / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
    return (np.frombuffer(images, np.uint8, count * 784, 16)
            .reshape(count, 28, 28).astype(np.float32),
            np.frombuffer(labels, np.uint8, count, 8).astype(np.int64))


def save_real(name, values):
    np.save(folder / f"{name}.npy", np.ascontiguousarray(values, np.float32))
    return f"{name}.npy"
