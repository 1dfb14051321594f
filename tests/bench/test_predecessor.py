"""The predecessor answers for any table as its estimator does."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from bench.models import BenchModel
from bench.predecessor import CARD_VARIABLE, MODEL_VARIABLE, create_app
from serve_app.model.artifact import CARD_FILE


def ask(
    model: BenchModel, instances: Sequence[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> list[httpx.Response]:
    """Responses of a predecessor with a model."""
    monkeypatch.setenv(MODEL_VARIABLE, str(model.frame_model))
    monkeypatch.setenv(CARD_VARIABLE, str(model.directory / CARD_FILE))
    transport = httpx.ASGITransport(create_app())

    async def responses() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.post("/predict/", json=each) for each in instances]

    return asyncio.run(responses())


@pytest.mark.parametrize("name", ["lr", "mixed"])
def test_its_answers_are_the_estimators(
    name: str, models: dict[str, BenchModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers, strings and gaps alike; the service would not be comparable otherwise."""
    model = models[name]
    responses = ask(model, model.instances[:20], monkeypatch)
    for response, expected in zip(responses, model.answers, strict=False):
        answer = response.json()
        assert answer["predicted_class"] == expected["predicted_class"]
        assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)


def test_it_validates_its_columns(
    models: dict[str, BenchModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the original: a value of another type is refused with 422."""
    instance = models["mixed"].instances[0]
    wrong = [{**instance, "n0": "many"}, {**instance, "c0": 3}]
    responses = ask(models["mixed"], wrong, monkeypatch)
    assert [response.status_code for response in responses] == [422, 422]
