"""The contestants, and how each is asked: the same rows, in the form that its server takes.

`serve_app.client` speaks the form of this project only.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import psutil

from bench.models import AT_EVERY_LOAD, BATCH_ROWS, BenchModel
from serve_app.errors import UserError, excerpt
from serve_app.model.tasks import keys_of
from serve_app.runtime.processes import Command

TIMEOUT_SECONDS = 30.0
TOLERANCE = 1e-3


class WrongAnswerError(UserError):
    """A contestant that does not answer, or not as the estimator does."""


class Dialect(Protocol):
    """The form of requests and answers of a server."""

    def request(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """Path and JSON of a request for some rows."""
        ...

    def answers(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """Class and probabilities of each row, as this project's services answer them."""
        ...


class OwnDialect:
    """That of this project, which the predecessor and its tuned form have too."""

    def request(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `Dialect.request`."""
        del model
        if len(instances) == 1:
            return "/predict/", instances[0]
        return "/predict/batch/", {"instances": list(instances)}

    def answers(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `Dialect.answers`."""
        del model
        found: list[dict[str, Any]] = answer.get("predictions", [answer])
        return found


class OpenInference:
    """The Open Inference Protocol over REST, version 2, as MLServer speaks it.

    An estimator that takes an array gets one tensor, else one input for each column.
    """

    def request(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `Dialect.request`."""
        wanted = {"outputs": [{"name": "predict_proba"}]}
        path = f"/v2/models/{model.name}/infer"
        if model.takes_frame:
            inputs = [_column(name, instances) for name in model.card.feature_names]
            return path, {"parameters": {"content_type": "pd"}, "inputs": inputs, **wanted}
        values = [value for instance in instances for value in instance.values()]
        shape = [len(instances), len(model.card.features)]
        tensor = {"name": "rows", "datatype": "FP64", "shape": shape, "data": values}
        return path, {"inputs": [tensor], **wanted}

    def answers(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `Dialect.answers`."""
        (output,) = answer["outputs"]
        count, classes = output["shape"]
        values = output["data"]
        rows = [values[row * classes : (row + 1) * classes] for row in range(count)]
        return [_most_probable(model, row) for row in rows]


class RowsOfApi:
    """That of the services that `bench` has for peers: an API for each model, which takes rows."""

    def request(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `Dialect.request`."""
        return f"/{model.name}", {"rows": _rows(model, instances)}

    def answers(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `Dialect.answers`."""
        return [_most_probable(model, row) for row in answer]


class ProtocolV1:
    """The protocol of TensorFlow Serving, as KServe speaks it: version 1."""

    def request(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `Dialect.request`."""
        return f"/v1/models/{model.name}:predict", {"instances": _rows(model, instances)}

    def answers(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `Dialect.answers`."""
        return [_most_probable(model, row) for row in answer["predictions"]]


class Invocations:
    """That of MLflow's scoring server, which has one model: an array, or a DataFrame in parts."""

    def request(self, model: BenchModel, instances: Sequence[dict[str, Any]]) -> tuple[str, Any]:
        """See `Dialect.request`."""
        values = [list(each.values()) for each in instances]
        if not model.takes_frame:
            return "/invocations", {"inputs": values}
        frame = {"columns": list(model.card.feature_names), "data": values}
        return "/invocations", {"dataframe_split": frame}

    def answers(self, model: BenchModel, answer: Any) -> list[dict[str, Any]]:
        """See `Dialect.answers`."""
        return [_most_probable(model, row) for row in answer["predictions"]]


OWN = OwnDialect()


@dataclass(frozen=True)
class Contestant:
    """A system under load, in a process that runs."""

    name: str
    url: str
    """Address without the path of the endpoint."""
    model: BenchModel
    process: Command | None = None
    """With its descendants, all that the system runs in."""
    batches: bool = False
    """Its batches are measured."""
    dialect: Dialect = OWN

    @property
    def at_every_load(self) -> bool:
        """Whether it is measured at every number of connections."""
        return self.dialect is OWN and self.model.name in AT_EVERY_LOAD

    def tree(self) -> list[psutil.Process]:
        """The processes that it runs in."""
        return self.process.tree() if self.process else []

    def request(self, rows: int = 1) -> tuple[str, bytes]:
        """Address and body of a request for the sample, or for it and more rows."""
        some = self.model.instances
        instances = (some * (1 + rows // len(some)))[:rows]
        path, body = self.dialect.request(self.model, instances)
        return f"{self.url}{path}", json.dumps(body, separators=(",", ":")).encode()

    def ask(self, rows: int = 1) -> list[dict[str, Any]]:
        """Class and probabilities of each row.

        Raises:
            WrongAnswerError: no answer, another status than 200, or another form of answer.
        """
        address, body = self.request(rows)
        headers = {"content-type": "application/json"}
        try:
            # The machine's proxy settings are for other addresses.
            with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
                response = client.post(address, content=body, headers=headers)
            found = self.dialect.answers(self.model, response.raise_for_status().json())
        except httpx.HTTPStatusError as error:
            text = excerpt(error.response.text)
            raise WrongAnswerError(
                f"{self.name} answered {error.response.status_code}: {text}"
            ) from error
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise WrongAnswerError(f"{self.name} does not answer {address}: {error!r}") from error
        if len(found) != rows:
            raise WrongAnswerError(f"{self.name} answered {len(found)} of {rows} rows")
        return found

    def is_ready(self) -> bool:
        """Whether the sample is answered with a 200."""
        try:
            self.ask()
        except WrongAnswerError:
            return False
        return True

    def check(self) -> None:
        """Compare the answers to the sample, alone and in a batch, with the estimator's own.

        Raises:
            WrongAnswerError: no answer or a wrong one; the speed of that is of no interest.
        """
        for rows in (1, BATCH_ROWS) if self.batches else (1,):
            for found, expected in zip(self.ask(rows), self.model.answers, strict=False):
                if not _agree(found, expected):
                    raise WrongAnswerError(f"{self.name} answered {found}, not {expected}")


def _agree(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    wanted = expected["probabilities"]
    shown = found.get("probabilities") or {}
    return (
        found.get("predicted_class") == expected["predicted_class"]
        and shown.keys() == wanted.keys()
        and all(abs(shown[label] - wanted[label]) <= TOLERANCE for label in wanted)
    )


def _most_probable(model: BenchModel, probabilities: Sequence[float]) -> dict[str, Any]:
    """The answer of a server that gives probabilities only."""
    classes, best = model.classes, probabilities.index(max(probabilities))
    return {
        "predicted_class": classes[best],
        "probabilities": dict(zip(keys_of(classes), probabilities, strict=True)),
    }


def _rows(model: BenchModel, instances: Sequence[dict[str, Any]]) -> list[Any]:
    """Records where the estimator takes a DataFrame, else arrays."""
    return list(instances) if model.takes_frame else [list(each.values()) for each in instances]


def _column(name: str, instances: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = [instance[name] for instance in instances]
    tensor = {"name": name, "shape": [len(values), 1], "data": values}
    if any(isinstance(value, str) for value in values):
        return {**tensor, "datatype": "BYTES", "parameters": {"content_type": "str"}}
    return {**tensor, "datatype": "FP64"}
