"""The proof that two forms of a model agree: where they are compared, and how.

Three sets of rows are compared: the training rows, a dense random sample of the feature box, and
pairs of rows on both sides of a decision boundary, where single and double precision part first.
"""

import numpy as np

from serve_app.model.card import Agreement, Precision
from serve_app.model.features import Feature
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Predictor, Rows
from serve_app.model.tasks import Classification, Tolerances

BOX_ROWS = 10_000
BOUNDARY_PAIRS = 500
BOX_MARGIN = 0.1
"""Share of each feature's range by which the sampled box is wider than the training data."""
SINGLE_ROWS = 500
"""Rows, evenly from all sets, that are also compared alone: one row may take another path."""
BOUNDARY_WIDTH = 1e-6
"""Distance of the two rows of a boundary pair, as a share of the box."""


def comparison_rows(
    reference: Predictor, features: tuple[Feature, ...], training_rows: Rows | None
) -> Rows:
    """Rows on which two forms of a model are compared, shape [rows, features]."""
    generator = np.random.default_rng(0)
    low = np.array([feature.minimum for feature in features], dtype=np.float64)
    high = np.array([feature.maximum for feature in features], dtype=np.float64)
    margin = BOX_MARGIN * (high - low)
    box = generator.uniform(low - margin, high + margin, size=(BOX_ROWS, len(features)))
    parts = [box, _boundary_rows(reference, box)]
    if training_rows is not None:
        parts.append(training_rows)
    return np.concatenate(parts)


def _boundary_rows(reference: Predictor, box: Rows) -> Rows:
    """Bisect between rows of different classes until both ends almost touch the boundary."""
    labels = np.asarray(reference.predict(box).values)
    half = len(box) // 2
    crossing = np.flatnonzero(labels[:half] != labels[half : 2 * half])[:BOUNDARY_PAIRS]
    left, right = box[:half][crossing], box[half : 2 * half][crossing]
    left_labels = labels[:half][crossing]
    if len(crossing):
        for _ in range(int(np.ceil(np.log2(1 / BOUNDARY_WIDTH)))):
            middle = (left + right) / 2
            same_side = (np.asarray(reference.predict(middle).values) == left_labels)[:, np.newaxis]
            left, right = np.where(same_side, middle, left), np.where(same_side, right, middle)
    return np.concatenate([left, right])


def compare(
    compiled: Predictor,
    precision: Precision,
    rows: Rows,
    expected: Prediction,
    *,
    task: Classification,
    tolerances: Tolerances,
) -> Agreement:
    """Compare the answers of ``compiled`` to ``rows`` with the ``expected`` ones.

    Rows are predicted all together, and `SINGLE_ROWS` of them also one by one.
    """
    alone = np.linspace(0, len(rows) - 1, min(SINGLE_ROWS, len(rows)), dtype=int).tolist()
    answers = [(list(range(len(rows))), compiled.predict(rows))]
    answers += [([row], compiled.predict(rows[row : row + 1])) for row in alone]
    disagreements: set[int] = set()
    largest = 0.0
    for positions, found in answers:
        compared = task.compare(found, _part(expected, positions), tolerances)
        disagreements |= {positions[row] for row in compared.disagreements}
        largest = max(largest, compared.largest_difference)
    return Agreement(
        precision=precision,
        rows_compared=len(rows),
        disagreements=len(disagreements),
        largest_difference=largest,
        tolerance=tolerances.absolute,
        relative_tolerance=tolerances.relative,
    )


def _part(prediction: Prediction, rows: list[int]) -> Prediction:
    values, scores = prediction
    return Prediction(
        [values[row] for row in rows], None if scores is None else [scores[row] for row in rows]
    )
