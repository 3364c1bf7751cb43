"""What an exporter's script hands to check.py: NAME.onnx and NAME.json.

The JSON says how the file is to be imported, and how its answers relate to
what ONNX Runtime says:

    same      probabilities or scores, as they are
    softmax   the file ends in scores, soma answers with their softmax
    exp       the file ends in log-probabilities
    two       the file ends in p, soma answers [1 - p, p]

or by which words (one text, or a list of them) the import is refused.
"""
import json
import pathlib
import sys

import numpy as np

from images import fashion  # noqa: F401, for the exporters

folder = pathlib.Path(sys.argv[1])


def path(name):
    return str(folder / f"{name}.onnx")


def case(name, answer="same", options=(), refused=None, real=None, scale=1.0,
         classes=None):
    """real: a .npy in the folder, of inputs as clients send them."""
    (folder / f"{name}.json").write_text(json.dumps({
        "answer": answer, "options": list(options), "refused": refused,
        "real": real, "scale": scale, "classes": classes}))


def save_real(name, values):
    np.save(folder / f"{name}.npy", np.ascontiguousarray(values, np.float32))
    return f"{name}.npy"
