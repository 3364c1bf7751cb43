"""LitServe without batches. Tried: batches of 16 and a wait of 1 ms, which
had 0.6 of the requests/s at one connection and 0.8 at 64, and took an eighth
of the core when idle; batches of 64; its ZeroMQ queue, no better."""
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
    litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False,
        log_level="error")
