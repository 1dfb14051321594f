"""Plain Ray Serve for the bench's models, as its guide shows it: ``... bench.ray_serve_app PORT``.

It has the defaults of Ray Serve: one replica behind a proxy in Python, an access log, no batching.
It needs nothing of this project. ``$BENCH_MODELS`` is a JSON object with the estimators' files.
The handler is a coroutine, as Serve's performance guide advises. A second argument is the most
requests that the replica has at once; Serve's default is 5.
"""

import json
import os
import sys
from typing import Any

import joblib
import numpy as np
import pandas as pd
import ray
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve

app = FastAPI()


class Request(BaseModel):
    """Rows: arrays, or records for an estimator that takes a table."""

    rows: list[list[float]] | list[dict[str, Any]]


@serve.deployment
@serve.ingress(app)
class Models:
    """Answers the probabilities of the classes."""

    def __init__(self, files: dict[str, str]) -> None:
        """Load the estimators."""
        self._models: dict[str, Any] = {name: joblib.load(path) for name, path in files.items()}

    @app.post("/{name}")
    async def predict(self, name: str, request: Request) -> list[list[float]]:
        """Answer rows of one request."""
        rows = request.rows
        table = pd.DataFrame(rows) if isinstance(rows[0], dict) else np.array(rows)
        found: list[list[float]] = self._models[name].predict_proba(table).tolist()
        return found


def main(port: int, ongoing: int = 5) -> None:
    """Serve until SIGTERM, in a Ray of its own."""
    # Only what idles beside the others is left out: the dashboard.
    ray.init(address="local", include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    files = json.loads(os.environ["BENCH_MODELS"])
    models = Models.options(max_ongoing_requests=ongoing)  # type: ignore[attr-defined]
    serve.run(models.bind(files), blocking=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
