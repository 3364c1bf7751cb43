"""BentoML, one worker, without metrics and access log. An array as the type
of the body: a list[int] takes pydantic longer. Its adaptive batching was
tried (batchable, up to 64 images): 1.05 of the requests/s at 64
connections, within the noise, and as few as 3 at one, for it waits."""
import bentoml
import numpy as np
from numpy.typing import NDArray

from model import session


@bentoml.service(workers=1, metrics={"enabled": False},
                 logging={"access": {"enabled": False}})
class Soma:
    def __init__(self):
        self.run = session().run

    @bentoml.api
    async def predict(self, pixels: NDArray[np.float32]) -> dict:
        x = np.asarray(pixels, np.float32).reshape(-1, 3072)
        p = self.run(None, {"x": x})[0][0]
        return {"label": int(p.argmax()), "probabilities": p.tolist()}
