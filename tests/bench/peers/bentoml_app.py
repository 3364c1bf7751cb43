"""BentoML, one worker; its adaptive batching serves calls between services
and batchable lists, so a single row is a plain call."""
import bentoml
import numpy as np

from model import session


@bentoml.service(workers=1)
class Soma:
    def __init__(self):
        self.run = session().run

    @bentoml.api
    def predict(self, pixels: list[int]) -> dict:
        x = np.array(pixels, np.float32).reshape(-1, 3072)
        p = self.run(None, {"x": x})[0][0]
        return {"label": int(p.argmax()), "probabilities": p.tolist()}
