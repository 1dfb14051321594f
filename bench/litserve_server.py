"""LitServe for the bench's models: ``python -m bench.litserve_server PORT REQUESTS SECONDS``.

It runs in an environment of its own, which has nothing of this project. ``$BENCH_MODELS`` is a JSON
object with the file of each estimator. Each model is a LitAPI with a worker of its own; they share
an HTTP server. A batch has at most so many requests, and waits so long for them. LitServe advises
batches, and its fast queue from 100 requests/s on.
"""

import json
import os
import sys
from itertools import accumulate
from typing import Any

import joblib
import litserve  # type: ignore[import-not-found]
import numpy as np
import pandas as pd


class Estimator(litserve.LitAPI):  # type: ignore[misc]
    """Answers the probabilities of the classes for rows: arrays, or records for a table."""

    def __init__(self, path: str, **options: Any) -> None:
        """Remember the file; the worker loads it."""
        super().__init__(**options)
        self._path = path

    def setup(self, device: str) -> None:
        """Load the estimator."""
        del device
        self._estimator: Any = joblib.load(self._path)

    def decode_request(self, request: dict[str, Any]) -> list[Any]:
        """Rows of one request."""
        rows: list[Any] = request["rows"]
        return rows

    def batch(self, inputs: list[list[Any]]) -> tuple[list[Any], list[int]]:
        """Rows of several requests, and where those of the next ones begin."""
        return [row for rows in inputs for row in rows], list(accumulate(map(len, inputs)))[:-1]

    def predict(self, batch: tuple[list[Any], list[int]]) -> list[Any]:
        """Answers by request."""
        rows, beginnings = batch
        table = pd.DataFrame(rows) if isinstance(rows[0], dict) else np.array(rows)
        return np.split(self._estimator.predict_proba(table), beginnings)

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Already by request."""
        return output

    def encode_response(self, output: Any) -> Any:
        """Probabilities as lists."""
        return output.tolist()


def main(port: int, requests: int, seconds: float) -> None:
    """Serve until SIGTERM."""
    models: dict[str, str] = json.loads(os.environ["BENCH_MODELS"])
    batches = {"max_batch_size": requests, "batch_timeout": seconds}
    server = litserve.LitServer(
        [Estimator(path, api_path=f"/{name}", **batches) for name, path in models.items()],
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
