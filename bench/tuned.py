"""FastAPI written for speed: what a careful engineer gets out of it with scikit-learn.

Coroutine handlers (no thread hop), one ``predict_proba`` per request on a numpy array, the label
taken from it, ``assume_finite`` behind pydantic, responses written by orjson past FastAPI's own
serialisation. Run by ``uvicorn --factory bench.tuned:create_app --loop uvloop --http httptools
--no-access-log``, one worker, ``OMP_NUM_THREADS=1``.
"""

import os
from typing import Annotated, Any

import joblib
import numpy as np
import orjson
import sklearn
from fastapi import FastAPI, Response
from pydantic import BaseModel, Field

from bench.predecessor import MODEL_VARIABLE

Value = Annotated[float, Field(allow_inf_nan=False)]


class Instance(BaseModel):
    """One iris."""

    sepal_length: Value
    sepal_width: Value
    petal_length: Value
    petal_width: Value

    def row(self) -> tuple[float, float, float, float]:
        """Values in the order of training."""
        return (self.sepal_length, self.sepal_width, self.petal_length, self.petal_width)


class Batch(BaseModel):
    """Several irises."""

    instances: list[Instance]


def create_app() -> FastAPI:
    """Application around the estimator at ``$BENCH_MODEL``, fitted on an array."""
    model = joblib.load(os.environ[MODEL_VARIABLE])
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    names = [str(label) for label in model.classes_]
    app = FastAPI()

    def answers(rows: list[tuple[float, float, float, float]]) -> list[dict[str, Any]]:
        probabilities = model.predict_proba(np.array(rows))
        return [
            {"predicted_class": names[best], "probabilities": dict(zip(names, row, strict=True))}
            for best, row in zip(
                probabilities.argmax(axis=1).tolist(), probabilities.tolist(), strict=True
            )
        ]

    def json_response(content: Any) -> Response:
        return Response(orjson.dumps(content), media_type="application/json")

    @app.post("/predict/")
    async def predict(instance: Instance) -> Response:
        return json_response(answers([instance.row()])[0])

    @app.post("/predict/batch/")
    async def predict_batch(batch: Batch) -> Response:
        rows = [instance.row() for instance in batch.instances]
        return json_response({"predictions": answers(rows)})

    return app
