"""Each task: its answers, their schema, and what counts as the same answer."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from serve_app.model.comparison import PROBABILITY_TOLERANCE, Tolerances
from serve_app.model.prediction import Prediction
from serve_app.model.task import keys_of
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    Output,
    PlainPrediction,
    Regression,
    Task,
)


def classification(
    *classes: Any, probabilities: bool = True, follow: bool = True
) -> Classification:
    return Classification(
        classes=classes, has_probabilities=probabilities, labels_follow_probabilities=follow
    )


OUTPUTS = (Output(name="colour", classes=("red", "blue")), Output(name="big", classes=(0, 1, 2)))

CASES: list[tuple[Task, Prediction, list[dict[str, Any]]]] = [
    (
        classification("a", "b"),
        Prediction(["b", "a"], [[0.25, 0.75], [0.5, 0.5]]),
        [
            {"predicted_class": "b", "probabilities": {"a": 0.25, "b": 0.75}},
            {"predicted_class": "a", "probabilities": {"a": 0.5, "b": 0.5}},
        ],
    ),
    (
        classification(False, True),
        Prediction([True], [[0.25, 0.75]]),
        [{"predicted_class": True, "probabilities": {"false": 0.25, "true": 0.75}}],
    ),
    (
        classification(0.5, 2.0, probabilities=False),
        Prediction([2.0]),
        [{"predicted_class": 2.0, "probabilities": None}],
    ),
    (
        MultiOutput(outputs=OUTPUTS, has_probabilities=True),
        Prediction([["red", 2]], [[[0.75, 0.25], [0.25, 0.25, 0.5]]]),
        [
            {
                "predicted_class": {"colour": "red", "big": 2},
                "probabilities": {
                    "colour": {"red": 0.75, "blue": 0.25},
                    "big": {"0": 0.25, "1": 0.25, "2": 0.5},
                },
            }
        ],
    ),
    (
        MultiOutput(outputs=OUTPUTS, has_probabilities=False),
        Prediction([["red", 2]]),
        [{"predicted_class": {"colour": "red", "big": 2}, "probabilities": None}],
    ),
    (
        Regression(targets=("price",)),
        Prediction([[12.5], [-3.0]]),
        [{"prediction": 12.5}, {"prediction": -3.0}],
    ),
    (
        Regression(targets=("x", "y")),
        Prediction([[12.5, 1e-9]]),
        [{"prediction": {"x": 12.5, "y": 1e-9}}],
    ),
    (
        OutlierDetection(has_score=True),
        Prediction([True, False], [-0.5, 0.25]),
        [{"is_outlier": True, "score": -0.5}, {"is_outlier": False, "score": 0.25}],
    ),
    (OutlierDetection(has_score=False), Prediction([True]), [{"is_outlier": True, "score": None}]),
    (PlainPrediction(), Prediction([3, 4]), [{"prediction": 3}, {"prediction": 4}]),
    (
        PlainPrediction(),
        Prediction([[1.5, 2.5], "x"]),
        [{"prediction": [1.5, 2.5]}, {"prediction": "x"}],
    ),
]


@pytest.mark.parametrize(("task", "prediction", "answers"), CASES)
def test_answers_are_json_of_the_published_schema_and_can_be_read_back(
    task: Task, prediction: Prediction, answers: list[dict[str, Any]]
) -> None:
    """What a client gets is in the schema, and says all that the model said."""
    assert task.answers(prediction) == answers
    validator = Draft202012Validator(task.answer_schema())
    for position, answer in enumerate(answers):
        received = json.loads(json.dumps(answer))
        validator.validate(received)
        value = prediction.values[position]
        score = None if prediction.scores is None else prediction.scores[position]
        assert task.answer(value, score) == answer
        assert task.prediction_of(received) == Prediction([value], score and [score])
        assert task.problem_with(received, answer) is None
        with_version = {**received, "model_version": "x"}
        assert task.problem_with(with_version) is None


@pytest.mark.parametrize("task", [task for task, _, _ in CASES])
def test_a_task_survives_json(task: Task) -> None:
    """Labels keep their types: true, 1 and 1.0 are three labels."""
    adapter: TypeAdapter[Task] = TypeAdapter(Task)
    read = adapter.validate_json(adapter.dump_json(task))
    assert repr(read) == repr(task)


@pytest.mark.parametrize(
    ("task", "answer", "problem"),
    [
        (CASES[0][0], {"predicted_class": "c"}, "without probabilities"),
        (CASES[0][0], {"predicted_class": "c", "probabilities": None}, "does not have: 'c'"),
        (CASES[0][0], {"predicted_class": "a", "probabilities": None}, "not those of a, b"),
        (
            CASES[0][0],
            {"predicted_class": "a", "probabilities": {"b": 0.5, "a": 0.5}},
            "not those of a, b, in this order",
        ),
        (
            CASES[0][0],
            {"predicted_class": "a", "probabilities": {"a": 0.5, "b": 0.6}},
            "do not add up to 1",
        ),
        (
            CASES[0][0],
            {"predicted_class": "a", "probabilities": {"a": 0.25, "b": 0.75}},
            "not the most probable",
        ),
        (
            CASES[0][0],
            {"predicted_class": "a", "probabilities": {"a": "1", "b": 0}},
            "'1' where a finite number must be",
        ),
        (CASES[1][0], {"predicted_class": 1, "probabilities": {}}, "does not have: 1"),
        (
            CASES[2][0],
            {"predicted_class": 2.0, "probabilities": {}},
            "probabilities that the model",
        ),
        (CASES[3][0], {"predicted_class": "red", "probabilities": {}}, "no JSON object"),
        (CASES[3][0], {"predicted_class": {"colour": "red"}, "probabilities": {}}, "without big"),
        (
            CASES[4][0],
            {"predicted_class": {"colour": "red", "big": 3}, "probabilities": None},
            "does not have: 3",
        ),
        (CASES[5][0], {"prediction": None}, "None where a finite number must be"),
        (CASES[5][0], {"prediction": True}, "True where a finite number must be"),
        (CASES[5][0], [], "no JSON object"),
        (CASES[6][0], {"prediction": {"x": 1}}, "without y"),
        (CASES[7][0], {"is_outlier": 1, "score": 0.5}, "neither true nor false"),
        (CASES[7][0], {"is_outlier": True, "score": None}, "None where a finite number"),
        (CASES[8][0], {"is_outlier": True, "score": 0.5}, "a score that the model does not have"),
        (CASES[9][0], {}, "without prediction"),
    ],
)
def test_what_is_no_answer_is_told_why(task: Task, answer: Any, problem: str) -> None:
    """A load test, a self-test and a smoke test share one judgement."""
    found = task.problem_with(answer)
    assert found is not None
    assert problem in found


@pytest.mark.parametrize(
    ("task", "answer", "expected"),
    [
        (classification("a", "b", follow=False), ("a", [0.4, 0.6]), ("b", [0.4, 0.6])),
        (classification("a", "b"), ("b", [0.4, 0.6]), ("b", [0.41, 0.59])),
        (CASES[3][0], (["red", 2], CASES[3][1].scores[0]), (["blue", 2], CASES[3][1].scores[0])),  # type: ignore[index]
        (CASES[5][0], ([12.5], None), ([12.6], None)),
        (CASES[6][0], ([12.5, 1e-9], None), ([12.5, 2e-9], None)),
        (CASES[7][0], (True, -0.5), (True, -0.51)),
        (CASES[8][0], (True, None), (False, None)),
        (CASES[9][0], (3, None), (4, None)),
        (CASES[9][0], (3, None), ("3", None)),
        (CASES[9][0], ([1.5], None), ([1.5, 2.5], None)),
    ],
)
def test_another_answer_than_expected_is_a_problem(
    task: Task, answer: tuple[Any, Any], expected: tuple[Any, Any]
) -> None:
    """Another value, or a number beyond tolerance."""
    found = task.problem_with(task.answer(*answer), task.answer(*expected))
    assert found is not None
    assert found.startswith("not the ")


@pytest.mark.parametrize(("task", "prediction", "_answers"), CASES)
def test_equal_predictions_agree(
    task: Task, prediction: Prediction, _answers: list[dict[str, Any]]
) -> None:
    """No row differs, and no number."""
    assert task.compare(prediction, prediction, task.tolerances(prediction)) == ([], 0.0)


def test_rows_that_differ_are_named() -> None:
    """By label, by probability, and by both; the largest difference is that of any row."""
    task = classification("a", "b", follow=False)
    expected = Prediction(["a", "a", "b", "b"], [[0.9, 0.1]] * 4)
    found = Prediction(
        ["a", "b", "b", "a"], [[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.9, 0.1 + 1e-6]]
    )
    disagreements, largest = task.compare(found, expected, task.tolerances(expected))
    assert disagreements == [1, 2, 3]
    assert largest == pytest.approx(0.1)


@pytest.mark.parametrize(("one", "other"), [(True, 1), (1, 1.0), (0, False)])
def test_a_label_of_another_json_type_is_another_label(one: Any, other: Any) -> None:
    """A compiled model that answers 1 where the estimator answers true is not equal."""
    task = PlainPrediction()
    assert task.compare(Prediction([one]), Prediction([other]), Tolerances(1.0)).disagreements
    both = classification(other, "x", probabilities=False)
    tolerances = both.tolerances(Prediction([other]))
    assert both.compare(Prediction([one]), Prediction([other]), tolerances).disagreements == [0]


@pytest.mark.parametrize("scores", [None, [[0.5]], [[math.nan, 0.5]]])
def test_missing_numbers_agree_with_nothing(scores: Any) -> None:
    """No probabilities, too few, or NaN: nothing was compared, so nothing is equal."""
    task = classification("a", "b")
    expected = Prediction(["a"], [[0.5, 0.5]])
    found = task.compare(Prediction(["a"], scores), expected, Tolerances(1.0))
    assert found.disagreements == [0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_tolerances_of_a_regression_follow_its_scale(numbers: list[float]) -> None:
    """A thousandth of the mean is a difference, a millionth is rounding, whatever the unit."""
    task = Regression(targets=("price",))
    mean = sum(map(abs, numbers)) / len(numbers)
    expected = Prediction([[number] for number in numbers])
    tolerances = task.tolerances(expected)
    assert tolerances.absolute == pytest.approx(PROBABILITY_TOLERANCE * mean)
    assert tolerances.relative == PROBABILITY_TOLERANCE
    for step, differs in ((1e-3, bool(mean)), (1e-6, False)):
        moved = Prediction([[number + step * mean] for number in numbers])
        large = [row for row, number in enumerate(numbers) if step * mean > 2e-5 * abs(number)]
        found = task.compare(moved, expected, tolerances).disagreements
        assert (set(found) >= set(large)) if differs else not found


def test_each_target_needs_its_own_scale() -> None:
    """A target of small numbers is not compared by the tolerance of one of large numbers."""
    task = Regression(targets=("euros", "share"))
    expected = Prediction([[1e6, 0.5], [2e6, 0.0]])
    found = Prediction([[1e6, 0.5], [2e6, 0.001]])
    assert task.compare(found, expected, task.tolerances(expected)).disagreements == [1]


def test_labels_as_json_keys() -> None:
    """Booleans are keys as JSON spells them."""
    assert keys_of([True, False, 1, 1.5, "True"]) == ("true", "false", "1", "1.5", "True")


@pytest.mark.parametrize(
    ("task", "values", "attributes"),
    [
        (classification("a", "b"), ["a"], {"predicted_class": "a"}),
        (
            classification(False, True),
            [True, False, True],
            {"predicted_class": ["true", "false"], "predicted_class_counts": [2, 1]},
        ),
        (
            CASES[3][0],
            [["red", 2]],
            {"predicted_class.colour": "red", "predicted_class.big": 2},
        ),
        (CASES[3][0], [["red", 2]] * 2, {}),
        (Regression(targets=("x",)), [[1.5]], {"prediction": 1.5}),
        (Regression(targets=("x", "y")), [[1.5, 2.0]], {"prediction": [1.5, 2.0]}),
        (Regression(targets=("x",)), [[1.5], [2.5]], {}),
        (OutlierDetection(has_score=True), [True], {"is_outlier": True}),
        (OutlierDetection(has_score=True), [True, False, True], {"outliers": 2}),
        (PlainPrediction(), [3], {}),
    ],
)
def test_spans_describe_answers(task: Task, values: list[Any], attributes: dict[str, Any]) -> None:
    """One row by its answer, many by counts where answers are few."""
    assert task.span_attributes(values) == attributes
