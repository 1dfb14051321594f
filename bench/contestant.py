"""A system under load: its address, and whether it answers rightly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import BenchError
from bench.models import BenchModel
from serve_app.client import ServiceClient, ServiceError

TIMEOUT_SECONDS = 30.0
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Contestant:
    """A system under load, in a process that runs."""

    name: str
    base: str
    """Address without the path of the endpoint."""
    model: BenchModel
    batches: bool = False
    """It has a batch endpoint that is measured."""

    @property
    def url(self) -> str:
        """Endpoint for one row."""
        return f"{self.base}/predict/"

    @property
    def batch_url(self) -> str:
        """Endpoint for several rows."""
        return f"{self.base}/predict/batch/"

    def is_ready(self) -> bool:
        """Whether the sample is answered with a 200."""
        try:
            with ServiceClient(self.base, timeout_seconds=TIMEOUT_SECONDS) as client:
                client.predict(self.model.card.example)
        except ServiceError:
            return False
        return True

    def check(self) -> None:
        """Compare the answers to the sample, alone and as a batch, with the model card.

        Raises:
            ServiceError: no answer.
            BenchError: a wrong answer; its speed is of no interest.
        """
        with ServiceClient(self.base, timeout_seconds=TIMEOUT_SECONDS) as client:
            self._compare(client.predict(self.model.card.example))
            if self.batches:
                self._compare(client.predict_batch(self.model.batch)[-1])

    def _compare(self, found: Mapping[str, Any]) -> None:
        expected = self.model.answer
        difference = max(
            abs(found["probabilities"][label] - probability)
            for label, probability in expected["probabilities"].items()
        )
        if found["predicted_class"] != expected["predicted_class"] or difference > TOLERANCE:
            raise BenchError(f"{self.name} answered {found}, not {expected}")
