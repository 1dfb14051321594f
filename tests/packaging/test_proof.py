"""Two forms of a model are compared where they could part: in the box, at boundaries, alone."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serve_app.model.card import Engine, Feature
from serve_app.model.predictor import Prediction, Rows, SklearnPredictor
from serve_app.packaging.proof import BOUNDARY_WIDTH, BOX_ROWS, compare, comparison_rows
from tests.support.models import ThresholdClassifier

FEATURES = tuple(Feature(name=name, minimum=0, maximum=10) for name in "ab")
TRAINING = load_iris().data[:, :2]


@pytest.fixture(scope="module")
def reference() -> SklearnPredictor:
    """Logistic regression on two columns of Iris, integer labels."""
    return SklearnPredictor(LogisticRegression().fit(TRAINING, load_iris().target))


class OtherForm:
    """Answers as the reference does, but is told what to do with a single row."""

    engine: Engine = "onnx"

    def __init__(self, reference: SklearnPredictor, *, wrong_alone: bool = False) -> None:
        self._reference = reference
        self._wrong_alone = wrong_alone
        self.alone: list[list[float]] = []
        """Rows that were predicted one by one."""

    def predict(self, rows: Rows) -> Prediction:
        """See `Predictor.predict`."""
        found = self._reference.predict(rows)
        if len(rows) > 1:
            return found
        self.alone += rows.tolist()
        return Prediction([-1], found.probabilities) if self._wrong_alone else found


def test_single_rows_are_compared_too(reference: SklearnPredictor) -> None:
    """A form that is right in a batch and wrong for a row alone disagrees."""
    rows = np.random.default_rng(0).uniform(0, 10, size=(100, 2))
    form = OtherForm(reference, wrong_alone=True)
    found = compare(form, "float32", rows, reference.predict(rows), tolerance=1e-5)
    assert found.label_disagreements == 100
    assert found.max_probability_difference < 1e-5


def test_single_rows_come_from_every_set(reference: SklearnPredictor) -> None:
    """Some hundred rows are compared alone, rows next to boundaries and of training among them."""
    rows = comparison_rows(reference, FEATURES, TRAINING)
    form = OtherForm(reference)
    compare(form, "float32", rows, reference.predict(rows), tolerance=1e-5)
    box, boundary = rows[:BOX_ROWS].tolist(), rows[BOX_ROWS : -len(TRAINING)].tolist()
    assert sum(row in box for row in form.alone) >= 300
    assert sum(row in boundary for row in form.alone) >= 30
    assert sum(row in TRAINING.tolist() for row in form.alone) >= 5


def test_rows_on_both_sides_of_a_boundary_are_compared() -> None:
    """Pairs of rows almost touch the decision boundary, one in each class."""
    rows = comparison_rows(SklearnPredictor(ThresholdClassifier()), FEATURES, None)
    pairs = rows[BOX_ROWS:]
    assert len(pairs) == 1000
    left, right = pairs[:500], pairs[500:]
    assert (np.abs(left - right) <= 12 * BOUNDARY_WIDTH).all()
    assert ((left[:, 0] > 4) != (right[:, 0] > 4)).all()


def test_the_box_is_a_little_wider_than_the_ranges_and_training_rows_are_in() -> None:
    """Requests come from beside the training data as well as from within."""
    training = np.array([[99.0, 99.0]])
    rows = comparison_rows(SklearnPredictor(ThresholdClassifier()), FEATURES, training)
    box = rows[:BOX_ROWS]
    assert -1 <= box.min() < 0
    assert 10 < box.max() <= 11
    assert rows[-1].tolist() == [99, 99]
