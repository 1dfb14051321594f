"""A client of a running service, for everything that is not a load generator.

Needs httpx, which the extras ``load`` and ``kubernetes`` install.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import ValidationError

from serve_app.errors import UserError, excerpt, first_error
from serve_app.model.card import ModelCard

TIMEOUT_SECONDS = 10.0


class ServiceError(UserError):
    """A service that does not answer as it should: names the address, the problem and the fix."""


class ServiceClient:
    """Asks one service; a context manager that closes its connections.

    Args:
        url: address of the service, without a path.
        timeout_seconds: longest wait for an answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.url = url.rstrip("/")
        # The machine's proxy settings are for other addresses than a service under test.
        self._client = httpx.Client(timeout=timeout_seconds, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def card(self) -> ModelCard:
        """Card of the served model.

        Raises:
            ServiceError: no answer, or not a service of this project.
        """
        answer = self._object(self._request("GET", "/model"))
        try:
            return ModelCard.model_validate({k: v for k, v in answer.items() if k != "engine"})
        except ValidationError as error:
            raise ServiceError(
                f"{self.url}/model shows no model card of this service ({first_error(error)}); "
                "check that the address is the service's, without a path"
            ) from error

    def predict(self, instance: dict[str, Any]) -> dict[str, Any]:
        """The answer to one row.

        Raises:
            ServiceError: no answer, or another status than 200.
        """
        return self._object(self._request("POST", "/predict/", json=instance))

    def predict_batch(self, instances: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers to several rows, in their order.

        Raises:
            ServiceError: no answer, another status than 200, or another number of answers.
        """
        body = {"instances": list(instances)}
        answer = self._object(self._request("POST", "/predict/batch/", json=body))
        predictions: list[dict[str, Any]] = answer.get("predictions") or []
        if len(predictions) != len(instances):
            raise ServiceError(
                f"{self.url}/predict/batch/ answered {len(predictions)} of {len(instances)} rows"
            )
        return predictions

    def predict_sample(self) -> str:
        """Ask for the sample in the service's own card; returns the model version that answered.

        Raises:
            ServiceError: no answer, or another one than the card has.
        """
        card = self.card()
        answer = self.predict(card.example)
        problem = card.task.problem_with(answer, card.sample.answer)
        if problem is not None:
            raise ServiceError(
                f"{self.url}/predict/ answered {excerpt(str(answer))} to the sample of GET /model, "
                f"which is {problem}; expected {excerpt(str(card.sample.answer))}"
            )
        return str(answer.get("model_version"))

    def has(self, path: str) -> bool:
        """Whether a GET of ``path`` is answered 200, or 404.

        Raises:
            ServiceError: no answer, or another status.
        """
        answer = self._response("GET", path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        self._require_ok(answer)
        return True

    def is_ready(self) -> bool:
        """Whether the service answers its own sample."""
        try:
            self.predict_sample()
        except ServiceError:
            return False
        return True

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        response = self._response(method, path, **content)
        self._require_ok(response)
        return response

    def _response(self, method: str, path: str, **content: Any) -> httpx.Response:
        url = f"{self.url}{path}"
        try:
            return self._client.request(method, url, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceError(
                f"{url} cannot be reached ({str(error) or type(error).__name__}); check the "
                "address, and that the service runs (`serve-app serve` starts one)"
            ) from error

    @staticmethod
    def _require_ok(response: httpx.Response) -> None:
        if response.status_code != httpx.codes.OK:
            text = excerpt(response.text)
            raise ServiceError(f"{response.url} answered {response.status_code}: {text}")

    @staticmethod
    def _object(response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ServiceError(
                f"{response.url} answered {excerpt(response.text)!r}, which is not a JSON object; "
                "check that the address is the service's, without a path"
            )
        return answer
