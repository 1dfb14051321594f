"""Models of every task over HTTP: one response schema each, and refusals that are the model's."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.routes import Routes
from serve_app.model.features import Feature
from serve_app.model.tasks import PlainPrediction, Regression
from serve_app.protocols.answers import OUT_OF_RANGE_HEADER
from tests.model.test_every_task import FEATURES, INSTANCE, MODELS, ROWS
from tests.support.in_process import Answer, ask, assert_documented, make_routes, post
from tests.support.iris_requests import BATCH, PREDICT
from tests.support.tables import Model, categories

NOUNS = {
    "regression": "regressor",
    "two classifiers": "classifier of several outputs",
    "isolation forest": "outlier detector",
    "clusters": "model",
}


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_the_task_as_documented(tmp_path: Path, name: str) -> None:
    """One row and a batch: the estimator's answers, in the form that the document promises."""
    estimator, target, task = MODELS[name]
    model = Model(estimator.fit(ROWS, target), task, FEATURES, INSTANCE)
    artifact = model.write(tmp_path / "model")
    routes = make_routes(artifact.directory)
    document = ask(routes, "GET", "/openapi.json").json()
    instances = [dict(zip("abcd", row, strict=True)) for row in ROWS[::30].tolist()]
    expected = task.answers(model.predictor.predict(ROWS[::30]))
    batch = post(routes, {"instances": instances}, BATCH)
    assert_documented(document, "POST", BATCH, batch)
    assert batch.json()["predictions"] == expected
    for instance, answer in zip(instances, expected, strict=True):
        alone = post(routes, instance)
        assert_documented(document, "POST", PREDICT, alone)
        assert task.problem_with(alone.json(), answer) is None
        assert alone.json()["model_version"] == artifact.card.version
    if name in NOUNS:
        assert document["info"]["title"] == f"mixed {NOUNS[name]}"
        assert ask(routes, "GET", "/").json()["service"] == f"mixed {NOUNS[name]}"


class Picky:
    """Refuses what its mode says, and otherwise answers the first column."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def predict(self, rows: Any) -> Any:
        """Values of the first column."""
        if (rows[:, 0] == 2).any():
            raise self._error("Found unknown categories [2]\nin column 0")
        return rows[:, 0]


def picky(directory: Path, error: type[Exception]) -> Any:
    features = (Feature(name="x", minimum=0, maximum=1),)
    return make_routes(
        Model(Picky(error), PlainPrediction(), features, {"x": 1}).write(directory).directory
    )


def test_a_value_that_the_estimator_refuses_is_the_clients_to_change(tmp_path: Path) -> None:
    """422 with the estimator's words in one line, and the service goes on."""
    routes = picky(tmp_path / "model", ValueError)
    document = ask(routes, "GET", "/openapi.json").json()
    for content, path in (({"x": 2}, PREDICT), ({"instances": [{"x": 1}, {"x": 2}]}, BATCH)):
        answer = post(routes, content, path)
        assert answer.status == 422
        assert_documented(document, "POST", path, answer)
        (entry,) = answer.detail
        assert entry["msg"].endswith(
            "The model refuses these values: Found unknown categories [2] in column 0"
        )
    assert post(routes, {"x": 1}).json()["prediction"] == 1.0


@pytest.mark.parametrize("error", [KeyError, TypeError, IndexError, ZeroDivisionError])
def test_a_step_that_fails_on_a_value_refuses_it(tmp_path: Path, error: type[Exception]) -> None:
    """Its words may be of the code, so only their kind is told."""
    answer = post(picky(tmp_path / "model", error), {"x": 2})
    assert answer.status == 422
    (entry,) = answer.detail
    assert entry["msg"] == f"The model refuses these values: {error.__name__}"


def test_any_other_error_of_the_estimator_is_the_services(tmp_path: Path) -> None:
    """It is not told to the client."""
    answer = post(picky(tmp_path / "model", RuntimeError), {"x": 2})
    assert answer.status == 500
    assert "unknown" not in answer.body.decode()


class Sum:
    """The sum of the values that are there."""

    def predict(self, rows: Any) -> Any:
        """Sums, shape [rows]."""
        return np.nansum(rows, axis=1)


NUMBERS = (
    Feature(name="n", minimum=0, maximum=1, nullable=True),
    Feature(name="i", kind="integer", minimum=0, maximum=9, nullable=True),
    Feature(name="b", kind="boolean", nullable=True),
    Feature(name="c", kind="category", categories=categories(1, 2.5), nullable=True),
    Feature(name="f", kind="category", categories=categories(True, False), nullable=True),
)
VALUES = {
    "n": st.floats(-1e6, 1e6),
    "i": st.integers(-99, 99),
    "b": st.booleans(),
    "c": st.sampled_from([1, 1.0, 2.5, 7]),
    "f": st.booleans(),
}


def sum_routes(directory: Path, features: Sequence[Feature]) -> Routes:
    sample = {**dict.fromkeys(feature.name for feature in features), "n": 1}
    model = Model(Sum(), Regression(targets=("sum",)), features, sample)
    return make_routes(model.write(directory).directory)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    """A regressor over every kind of column that is a number, all of them with gaps."""
    return sum_routes(tmp_path_factory.mktemp("numbers") / "model", NUMBERS)


def test_a_gap_hides_no_other_row(tmp_path: Path) -> None:
    """Of columns with ranges only, the whole batch is compared at once."""
    routes = sum_routes(tmp_path / "model", NUMBERS[:3])
    for instances, flagged in (
        ([{"n": 2}, {"n": None}], {"n"}),
        ([{"n": None}, {"n": -1, "i": 10}], {"n", "i"}),
        ([{"i": None}, {}], set()),
    ):
        assert flags_of(post(routes, {"instances": instances}, BATCH)) == flagged
        alone = [flags_of(post(routes, instance)) for instance in instances]
        assert set().union(*alone) == flagged


@given(
    instances=st.lists(
        st.fixed_dictionaries(
            {}, optional={name: st.none() | values for name, values in VALUES.items()}
        ),
        min_size=1,
        max_size=3,
    )
)
def test_gaps_among_numbers_are_no_values(numbers: Routes, instances: list[dict[str, Any]]) -> None:
    """Null and absent keys are missing, true is 1, and only values that are there are flagged."""
    sums = [math.fsum(filter(None, instance.values())) for instance in instances]
    batch = post(numbers, {"instances": instances}, BATCH)
    found = [answer["prediction"] for answer in batch.json()["predictions"]]
    assert found == pytest.approx(sums)
    flagged = set()
    for instance, expected in zip(instances, sums, strict=True):
        alone = post(numbers, instance)
        assert alone.json()["prediction"] == pytest.approx(expected)
        unseen = {
            name
            for name, value in instance.items()
            if value is not None
            and (
                (name == "n" and not 0 <= value <= 1)
                or (name == "i" and not 0 <= value <= 9)
                or (name == "c" and value not in (1, 2.5))
            )
        }
        assert flags_of(alone) == unseen
        flagged |= unseen
    assert flags_of(batch) == flagged


def flags_of(answer: Answer) -> set[str]:
    return set(filter(None, answer.headers.get(OUT_OF_RANGE_HEADER.decode(), "").split(",")))


@pytest.mark.parametrize("members", ['"n": 1, "n": 2', '"n": null, "n": 2', '"n": "\\"", "n": 2'])
def test_a_repeated_key_is_found_where_keys_may_be_absent(numbers: Routes, members: str) -> None:
    """The number of keys is not known beforehand; what a parser drops is noticed all the same."""
    answer = ask(numbers, "POST", PREDICT, f'{{"b": true, {members}}}'.encode())
    assert answer.status == 422
    assert [(one["type"], one["loc"]) for one in answer.detail] == [("repeated_key", ["body", "n"])]
