"""Two forms agree only if every answer to every row does, together and alone."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serve_app.model.card import Coverage, Engine
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Rows
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import Classification, Regression
from serve_app.packaging.evidence import Evidence, gather
from serve_app.packaging.proof import SINGLE_ROWS, ProofError, compare

TASK = Classification(
    classes=("high", "low"), has_probabilities=False, labels_follow_probabilities=False
)
NUMBERS = tuple(Feature(name=name, minimum=0, maximum=10) for name in "ab")
REAL = np.random.default_rng(1).uniform(0, 10, size=(300, 2))


def above_four(rows: Rows) -> Prediction:
    """``high`` where the first column is above 4."""
    return Prediction(["high" if row[0] > 4 else "low" for row in rows])


class OtherForm:
    """Answers as the reference does, but is told what to do with a single row."""

    engine: Engine = "onnx"

    def __init__(self, *, wrong_alone: bool = False, seconds: float = 0) -> None:
        self._wrong_alone = wrong_alone
        self.alone = 0

    def predict(self, rows: Rows) -> Prediction:
        """See `Predictor.predict`."""
        if len(rows) > 1:
            return above_four(rows)
        self.alone += 1
        return Prediction(["low"]) if self._wrong_alone else above_four(rows)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return gather(above_four, NUMBERS, TASK, REAL)


def test_single_rows_are_compared_too(evidence: Evidence) -> None:
    """A form that is right in a batch and wrong for a row alone disagrees."""
    right, wrong = OtherForm(), OtherForm(wrong_alone=True)
    agreement = compare(right, evidence, TASK, "float32")
    assert (agreement.disagreements, right.alone) == (0, SINGLE_ROWS)
    assert agreement.rows_compared == len(evidence.rows)
    assert agreement.coverage == evidence.coverage
    assert 200 < compare(wrong, evidence, TASK, "float32").disagreements < SINGLE_ROWS


def test_a_form_that_takes_too_long_is_not_compared(evidence: Evidence) -> None:
    """The message gives the time, so that the card tells why it is not served."""
    with pytest.raises(ProofError, match=r"too slow to be compared: 0 s for 100 of"):
        compare(OtherForm(), evidence, TASK, "float32", seconds=0)


def test_numbers_are_compared_within_stated_tolerances() -> None:
    """Probabilities absolutely, targets relative to their size; infinity agrees with nothing."""
    iris = load_iris()
    task = Classification(
        classes=(0, 1, 2), has_probabilities=True, labels_follow_probabilities=False
    )
    features = [Feature(name=name, minimum=0, maximum=8) for name in "abcd"]
    reference = SklearnPredictor(
        LogisticRegression(max_iter=1000).fit(iris.data, iris.target), task, features
    )
    rows = iris.data
    found = compare(reference, Evidence(rows, reference.predict(rows)), task, "float64")
    assert found.disagreements == 0
    assert found.largest_difference < 1e-12
    assert (found.tolerance, found.relative_tolerance) == (1e-5, 0)

    class Large:
        """Doubles the only target where the first column is above 4."""

        engine: Engine = "onnx"

        def predict(self, rows: Rows) -> Prediction:
            """See `Predictor.predict`."""
            return Prediction([[1e6 * (1 + (row[0] > 4))] for row in rows])

    regression = Regression(targets=("target",))
    ones = Evidence(REAL, Prediction([[1e6]] * len(REAL)), Coverage())
    agreement = compare(Large(), ones, regression, "float64")
    assert agreement.relative_tolerance == 1e-5
    assert agreement.disagreements == int((REAL[:, 0] > 4).sum())
    assert agreement.largest_difference == 1e6
