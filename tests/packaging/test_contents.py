"""What a model directory says of labels follows from the estimator, not from lucky rows."""

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.tree import DecisionTreeClassifier

from serve_app.model.card import Coverage
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.tasks import Classification, PlainPrediction
from serve_app.packaging.contents import (
    pickled,
    require_json,
    sample_of,
    with_labels_that_follow,
)
from serve_app.packaging.evidence import Evidence
from serve_app.packaging.tables import PackagingError

TASK = Classification(classes=(0, 1), has_probabilities=True, labels_follow_probabilities=False)
ROWS = np.array([[0.0], [1.0], [2.0]])
TREE = DecisionTreeClassifier().fit(ROWS, [0, 1, 1])
SCORES = [[0.9, 0.1], [0.2, 0.8], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("labels", "follow"), [([0, 1, 1], True), ([0, 0, 1], False)], ids=["all", "not all"]
)
def test_labels_follow_where_all_of_them_do(labels: list[int], *, follow: bool) -> None:
    """Each is the class of the largest probability."""
    found = with_labels_that_follow(TREE, TASK, Evidence(ROWS, Prediction(labels, SCORES)))
    assert found == TASK.model_copy(update={"labels_follow_probabilities": follow})


@pytest.mark.parametrize("missing", [np.nan, None], ids=["floats", "objects"])
def test_the_sample_is_a_training_row_without_gaps(missing: Any) -> None:
    """Where there is one; rows that were made for the comparison are none."""
    features = [Feature(name=name, minimum=0, maximum=9, nullable=True) for name in ("a", "b")]
    rows = np.array(
        [[missing, missing], [1.0, missing], [2.0, 3.0], [4.0, 5.0]],
        dtype=float if missing is not None else object,
    )
    expected = Prediction([0, 1, 1, 0], [*SCORES, [0.7, 0.3]])
    sample = sample_of(features, TASK, Evidence(rows, expected, Coverage(training_rows=3)))
    assert sample.instance == {"a": 2.0, "b": 3.0}
    assert sample.answer["probabilities"] == {"0": 0.0, "1": 1.0}
    few = sample_of(features, TASK, Evidence(rows, expected, Coverage(training_rows=2)))
    assert few.instance == {"a": 1.0, "b": None}
    made = sample_of(features, TASK, Evidence(rows, expected))
    assert made.instance == {"a": 2.0, "b": 3.0}


def test_a_threshold_decides_ties_that_no_row_shows() -> None:
    """At 0.5 both classes are equally probable, and the threshold takes the second."""
    estimator = FixedThresholdClassifier(TREE, threshold=0.5).fit(ROWS, [0, 1, 1])
    evidence = Evidence(ROWS, Prediction([0, 1, 1], SCORES))
    assert with_labels_that_follow(estimator, TASK, evidence) == TASK


@pytest.mark.parametrize("answer", [2**70, {"a": np.float64(1)}, {1, 2}])
def test_an_answer_that_json_has_not_is_refused(answer: object) -> None:
    """Every request would be answered 500."""
    with pytest.raises(PackagingError, match="cannot be sent as JSON"):
        require_json(PlainPrediction(), Evidence(ROWS[:2], Prediction([1, answer])))


def test_equal_trees_are_equal_files() -> None:
    """Memory between the fields of their nodes is not initialised, and says nothing."""
    make, arguments, state = TREE.tree_.__reduce__()
    nodes = np.frombuffer(b"\xff" * state["nodes"].nbytes, state["nodes"].dtype).copy()
    for field in nodes.dtype.names or ():
        nodes[field] = state["nodes"][field]
    other = DecisionTreeClassifier().fit(ROWS, [0, 1, 1])
    other.tree_ = make(*arguments)
    other.tree_.__setstate__({**state, "nodes": nodes})
    assert pickled(other) == pickled(TREE)
