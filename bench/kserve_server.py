"""KServe's model server for the bench's models: ``python -m bench.kserve_server --http_port PORT``.

It runs in an environment of its own, which has nothing of this project. ``$BENCH_MODELS`` is a JSON
object with the file of each estimator. ``predict`` is no coroutine: KServe then calls it in its
event loop, without a hop to a thread. Its command line has no option against uvicorn's access log.
"""

import json
import logging
import os
from typing import Any

import joblib
import kserve  # type: ignore[import-not-found]
import numpy as np
import pandas as pd
from kserve.utils.utils import generate_uuid, get_predict_input  # type: ignore[import-not-found]


class Estimator(kserve.Model):  # type: ignore[misc]
    """Answers the probabilities of the classes, in the protocols V1 and V2."""

    def __init__(self, name: str, path: str) -> None:
        """Load the estimator."""
        super().__init__(name)
        self._path = path
        self.load()

    def load(self) -> bool:
        """Load the estimator; KServe sends requests from then on."""
        self._estimator: Any = joblib.load(self._path)
        self.ready = True
        return self.ready

    def predict(
        self, payload: "dict[str, Any] | kserve.InferRequest", headers: dict[str, str] | None = None
    ) -> Any:
        """Answer rows: of V1 arrays where the estimator takes one, else records; of V2 tensors."""
        del headers
        if isinstance(payload, kserve.InferRequest):
            return self._infer(payload)
        rows = payload["instances"]
        table = pd.DataFrame(rows) if isinstance(rows[0], dict) else np.array(rows)
        return {"predictions": self._estimator.predict_proba(table).tolist()}

    def _infer(self, request: "kserve.InferRequest") -> "kserve.InferResponse":
        """As KServe's own server of such models, but with MLServer's name of the output."""
        found = self._estimator.predict_proba(get_predict_input(request))
        output = kserve.InferOutput("predict_proba", list(found.shape), "FP64")
        output.set_data_from_numpy(found, binary_data=request.use_binary_outputs)
        return kserve.InferResponse(
            response_id=request.id or generate_uuid(),
            model_name=self.name,
            infer_outputs=[output],
            use_binary_outputs=request.use_binary_outputs,
            requested_outputs=request.request_outputs,
        )


def main() -> None:
    """Serve until SIGTERM."""
    models: dict[str, str] = json.loads(os.environ["BENCH_MODELS"])
    server = kserve.ModelServer()
    logging.getLogger("uvicorn.access").handlers.clear()
    server.start([Estimator(name, path) for name, path in models.items()])


if __name__ == "__main__":
    main()
