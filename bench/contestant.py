"""A system under load: its address, and whether it answers rightly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.models import BenchModel
from serve_app.client import ServiceClient, ServiceError
from serve_app.errors import UserError

BATCH_ROWS = 100
TIMEOUT_SECONDS = 30.0
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Contestant:
    """A system under load, in a process that runs."""

    name: str
    url: str
    """Address without the path of the endpoint."""
    model: BenchModel
    batches: bool = False
    """It has a batch endpoint that is measured."""

    def request(self, rows: int = 1) -> tuple[str, bytes]:
        """Address and body of a request for the sample, alone or ``rows`` times."""
        example = self.model.card.example
        if rows == 1:
            return f"{self.url}/predict/", json.dumps(example).encode()
        return f"{self.url}/predict/batch/", json.dumps({"instances": [example] * rows}).encode()

    def is_ready(self) -> bool:
        """Whether the sample is answered with a 200."""
        try:
            with ServiceClient(self.url, timeout_seconds=TIMEOUT_SECONDS) as client:
                client.predict(self.model.card.example)
        except ServiceError:
            return False
        return True

    def check(self) -> None:
        """Compare the answers to the sample, alone and as a batch, with the model card.

        Raises:
            ServiceError: no answer.
            UserError: a wrong answer; its speed is of no interest.
        """
        with ServiceClient(self.url, timeout_seconds=TIMEOUT_SECONDS) as client:
            self._compare(client.predict(self.model.card.example))
            if self.batches:
                self._compare(client.predict_batch([self.model.card.example] * BATCH_ROWS)[-1])

    def _compare(self, found: Mapping[str, Any]) -> None:
        expected = self.model.answer
        difference = max(
            abs(found["probabilities"][label] - probability)
            for label, probability in expected["probabilities"].items()
        )
        if found["predicted_class"] != expected["predicted_class"] or difference > TOLERANCE:
            raise UserError(f"{self.name} answered {found}, not {expected}")
