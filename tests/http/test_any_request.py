"""Whatever is sent gets a documented answer below 500, and any row the answer of scikit-learn."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.routes import Routes
from serve_app.model.artifact import Artifact
from serve_app.model.card import MODEL_FILE
from serve_app.model.comparison import PROBABILITY_TOLERANCE
from tests.support.in_process import (
    ask,
    assert_documented,
    make_routes,
    post,
)
from tests.support.iris_requests import BATCH, BODY, PREDICT, ROW

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(ROW)), inner),
    max_leaves=10,
)
ALMOST_ROWS = st.fixed_dictionaries(
    dict.fromkeys(ROW, st.floats() | st.integers() | JSON_VALUES),
    optional={"sepal_length ": JSON_VALUES},
)
ALMOST_BATCHES = st.fixed_dictionaries({"instances": st.lists(ALMOST_ROWS | JSON_VALUES)})
PATHS = st.sampled_from([PREDICT, BATCH])


@given(path=PATHS, content=JSON_VALUES | ALMOST_ROWS | ALMOST_BATCHES)
def test_no_json_value_is_too_much(routes: Routes, document: Any, path: str, content: Any) -> None:
    """Any JSON value, also one that is almost a request, gets a documented JSON answer."""
    answer = post(routes, content, path)
    assert answer.status < 500
    assert_documented(document, "POST", path, answer)


@given(path=PATHS, body=st.binary(), position=st.integers(0, len(BODY)), cut=st.integers(0, 9))
def test_no_bytes_are_too_much(
    routes: Routes, document: Any, *, path: str, body: bytes, position: int, cut: int
) -> None:
    """Any bytes, alone or in place of a part of a good body, get a documented JSON answer."""
    for content in (body, BODY[:position] + body + BODY[position + cut :]):
        answer = ask(routes, "POST", path, [content])
        assert answer.status < 500
        assert_documented(document, "POST", path, answer)


@given(
    headers=st.dictionaries(
        st.sampled_from(["content-type", "content-encoding", "content-length", "x"]),
        st.text(st.characters(max_codepoint=255)) | st.just("application/json"),
    ),
    method=st.sampled_from(["GET", "POST"]) | st.text(),
    path=PATHS | st.text(),
)
def test_no_header_method_or_path_is_too_much(
    routes: Routes, headers: dict[str, str], method: str, path: str
) -> None:
    """Any request line and any headers get an answer below 500, and errors are JSON."""
    answer = ask(routes, method, path, [BODY], headers=headers)
    assert answer.status < 500
    if answer.status >= 400:
        assert answer.detail


@pytest.fixture(scope="module", params=["onnx", "sklearn"])
def engine_routes(request: pytest.FixtureRequest, iris: Path) -> Routes:
    """The default model in each engine."""
    return make_routes(iris, request.param)


@pytest.fixture(scope="module")
def estimator(iris: Path) -> Any:
    """What scikit-learn itself says."""
    return joblib.load(iris / MODEL_FILE)


@given(data=st.data())
def test_answers_are_scikit_learns_for_any_row(
    engine_routes: Routes, estimator: Any, iris: Path, data: st.DataObject
) -> None:
    """Over the box that packaging compared, in a batch and one by one, both engines agree."""
    features = Artifact.open(iris).card.features
    instance = st.fixed_dictionaries(
        {feature.name: st.floats(feature.minimum, feature.maximum) for feature in features}
    )
    instances = data.draw(st.lists(instance, min_size=1, max_size=5))
    batch = post(engine_routes, {"instances": instances}, BATCH).json()["predictions"]
    alone = [post(engine_routes, instance).json() for instance in instances]
    rows = np.array([[one[feature.name] for feature in features] for one in instances])
    expected = estimator.predict_proba(rows)
    for answers in (batch, alone):
        found = np.array([list(answer["probabilities"].values()) for answer in answers])
        assert np.abs(found - expected).max() <= PROBABILITY_TOLERANCE
        for answer, label, row in zip(answers, estimator.predict(rows), expected, strict=True):
            second, first = np.sort(row)[-2:]
            # Nearer than rounding, either class is right.
            if first - second > 2 * PROBABILITY_TOLERANCE:
                assert answer["predicted_class"] == label
