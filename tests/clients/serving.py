"""A soma of its own for a test program, and real images."""
import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOMA = os.path.join(ROOT, os.environ.get("BUILD", "build/gcc"), "soma")
IMAGES = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"


def images(count):
    """The first images of Fashion-MNIST's test set, uint8 [count, 28, 28]."""
    with gzip.open(IMAGES) as file:
        data = file.read(16 + count * 784)[16:]
    return np.frombuffer(data, np.uint8).reshape(count, 28, 28)


class Server:
    def __init__(self, *arguments, env=None):
        self.folder = tempfile.mkdtemp(prefix="soma-clients-")
        self.models = os.path.join(self.folder, "models")
        shutil.copytree(
            os.path.join(ROOT, "models"),
            self.models,
            ignore=lambda _, names: [n for n in names if not n.endswith(".safetensors")],
        )
        self.log = os.path.join(self.folder, "log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [SOMA, "serve", "--listen", "127.0.0.1:0", "--models", self.models,
                 "--default-model", "fashion", *arguments],
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        self.address = self._wait()
        self.url = "http://" + self.address

    def _wait(self):
        for _ in range(200):
            with open(self.log) as log:
                found = re.search(r"address=http://(\S+)", log.read())
            if found and self._is_ready(found[1]):
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        with open(self.log) as log:
            raise RuntimeError("soma did not start: " + log.read())

    @staticmethod
    def _is_ready(address):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://{address}/readyz").status == 200
        return False

    def put_file(self, source, name):
        """Makes a shipped model's file that of `name`, in one step."""
        fresh = os.path.join(self.folder, "fresh")
        shutil.copy(os.path.join(ROOT, "models", source + ".safetensors"), fresh)
        os.rename(fresh, os.path.join(self.models, name + ".safetensors"))

    def predict(self, batch, model="fashion"):
        """What soma's own API says: probabilities [rows, classes]."""
        request = urllib.request.Request(
            f"{self.url}/models/{model}/predict",
            json.dumps({"pixels": batch.tolist()}).encode(),
        )
        with urllib.request.urlopen(request) as answer:
            rows = json.load(answer)["predictions"]
        return np.array([row["probabilities"] for row in rows], np.float32)

    def stop(self):
        self.process.terminate()
        code = self.process.wait(30)
        shutil.rmtree(self.folder)
        if code:
            raise RuntimeError(f"soma ended with {code}")
