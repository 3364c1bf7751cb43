"""LitServe, with batches (tried without: slower at 64 connections)."""
import sys

import litserve
import numpy as np

from model import session


class Api(litserve.LitAPI):
    def setup(self, device):
        self.run = session().run

    def decode_request(self, request):
        return np.array(request["pixels"], np.float32)

    def predict(self, x):
        x = np.asarray(x).reshape(-1, 3072)
        return self.run(None, {"x": x})[0]

    def encode_response(self, p):
        p = np.asarray(p).reshape(-1)
        return {"label": int(p.argmax()), "probabilities": p.tolist()}


if __name__ == "__main__":
    api = Api(max_batch_size=16, batch_timeout=0.001)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False,
        log_level="error")
