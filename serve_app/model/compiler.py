"""Compile a fitted classifier to ONNX and prove that both forms agree.

Three sets of rows are compared: the training rows, a dense random sample of the feature box, and
pairs of rows on both sides of a decision boundary, where single and double precision part first.
"""

import warnings
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from serve_app.model.card import Agreement, Compilation, Feature, Label, Precision
from serve_app.model.predictor import (
    DEFAULT_TOLERANCE,
    OnnxPredictor,
    Prediction,
    Predictor,
    Rows,
)

BOX_ROWS = 10_000
BOUNDARY_PAIRS = 500
BOX_MARGIN = 0.1
"""Share of each feature's range by which the sampled box is wider than the training data."""
SINGLE_ROWS = 500
"""Rows, evenly from all sets, that are compared alone too: one row may take another path."""
BOUNDARY_WIDTH = 1e-6
"""Distance of the two rows of a boundary pair, as a share of the box."""


def compile_to_onnx(
    estimator: Any,
    rows: Rows,
    expected: Prediction,
    *,
    classes: Sequence[Label],
    labels_follow: bool,
    tolerance: float = DEFAULT_TOLERANCE,
) -> tuple[bytes | None, Compilation]:
    """Compile ``estimator`` to ONNX in the first precision that agrees with scikit-learn.

    Single precision is tried first: it needs fewer operators and half the memory.

    Args:
        estimator: the fitted classifier.
        rows: where both forms are compared, see `comparison_rows`; shape [rows, features].
        expected: what scikit-learn answers to ``rows``.
        classes: the estimator's classes, in its order.
        labels_follow: every expected label is the most probable class, so the compiled form needs
            to give probabilities only.
        tolerance: largest probability difference at which the forms agree.

    Returns:
        The ONNX model, or None when no form agrees, and what was found.
    """
    refusals: list[str] = []
    for precision in get_args(Precision):
        try:
            model = _convert(estimator, rows.shape[1], precision, pruned=labels_follow)
            compiled = OnnxPredictor(model, precision=precision, classes=classes)
            agreement = _compare(compiled, precision, rows, expected, tolerance)
        except Exception as error:
            # skl2onnx and ONNX Runtime raise a dozen types for "not supported".
            cause = error.__cause__ or error
            reason = str(cause).strip().splitlines() or [""]
            refusals.append(f"{precision}: {type(cause).__name__}: {reason[0][:300]}")
            continue
        if agreement.label_disagreements or agreement.max_probability_difference > tolerance:
            refusals.append(
                f"{precision}: {agreement.label_disagreements} of {len(rows)} labels differ, "
                f"probabilities by up to {agreement.max_probability_difference:.3g}"
            )
            continue
        return model, Compilation(
            engine="onnx",
            reason=f"agrees with scikit-learn on all {agreement.rows_compared} rows compared",
            agreement=agreement,
        )
    return None, Compilation(
        engine="sklearn", reason="no compiled form agrees; " + "; ".join(refusals)
    )


def comparison_rows(
    reference: Predictor, features: tuple[Feature, ...], training_rows: Rows | None
) -> Rows:
    """Rows on which two forms of a model are compared, shape [rows, features]."""
    generator = np.random.default_rng(0)
    low = np.array([feature.minimum for feature in features])
    high = np.array([feature.maximum for feature in features])
    margin = BOX_MARGIN * (high - low)
    box = generator.uniform(low - margin, high + margin, size=(BOX_ROWS, len(features)))
    parts = [box, _boundary_rows(reference, box)]
    if training_rows is not None:
        parts.append(training_rows)
    return np.concatenate(parts)


def _boundary_rows(reference: Predictor, box: Rows) -> Rows:
    """Bisect between rows of different classes until both ends almost touch the boundary."""
    labels = np.asarray(reference.predict(box).labels)
    half = len(box) // 2
    crossing = np.flatnonzero(labels[:half] != labels[half : 2 * half])[:BOUNDARY_PAIRS]
    left, right = box[:half][crossing], box[half : 2 * half][crossing]
    left_labels = labels[:half][crossing]
    if len(crossing):
        for _ in range(int(np.ceil(np.log2(1 / BOUNDARY_WIDTH)))):
            middle = (left + right) / 2
            same_side = (np.asarray(reference.predict(middle).labels) == left_labels)[:, np.newaxis]
            left, right = np.where(same_side, middle, left), np.where(same_side, right, middle)
    return np.concatenate([left, right])


def _convert(estimator: Any, width: int, precision: Precision, *, pruned: bool) -> bytes:
    from onnx.utils import Extractor
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from sklearn.pipeline import make_pipeline

    tensor = FloatTensorType if precision == "float32" else DoubleTensorType
    has_probabilities = hasattr(estimator, "predict_proba")
    steps = _steps(estimator)
    options = {}
    if has_probabilities:
        options["zipmap"] = False
    elif hasattr(steps[-1], "coef_"):
        # Its labels need no more than raw scores; what skl2onnx adds to them, double cannot do.
        options["raw_scores"] = True
    with warnings.catch_warnings():
        # About how skl2onnx uses scikit-learn: nothing that whoever packages a model can mend.
        warnings.simplefilter("ignore")
        # A fixed name: the default is random, and the model's version follows its bytes.
        model = convert_sklearn(
            make_pipeline(*steps),
            name="classifier",
            initial_types=[("rows", tensor([None, width]))],
            options={id(steps[-1]): options},
        )
    labels, scores = (output.name for output in model.graph.output)
    if pruned:
        # Labels cost operators and a string tensor for what an argmax tells as well.
        model = Extractor(model).extract_model(["rows"], [scores])
    elif not has_probabilities:
        # The scores are then a decision function, which nobody reads.
        model = Extractor(model).extract_model(["rows"], [labels])
        # skl2onnx declares one score where there are two, and every replica would log a warning.
        del model.graph.value_info[:]
    # skl2onnx takes them from a set, whose order is that of the process's random hashes.
    model.opset_import.sort(key=lambda opset: opset.domain)
    return bytes(model.SerializeToString())


def _steps(estimator: Any) -> list[Any]:
    """Fitted steps in one list: skl2onnx gives the last of a nested pipeline no options."""
    if hasattr(estimator, "best_estimator_"):
        return _steps(estimator.best_estimator_)
    if hasattr(estimator, "steps"):
        return [inner for _, step in estimator.steps for inner in _steps(step)]
    return [estimator]


def _compare(
    compiled: OnnxPredictor,
    precision: Precision,
    rows: Rows,
    expected: Prediction,
    tolerance: float,
) -> Agreement:
    alone = np.linspace(0, len(rows) - 1, min(SINGLE_ROWS, len(rows)), dtype=int).tolist()
    answers = [(list(range(len(rows))), compiled.predict(rows))]
    answers += [([row], compiled.predict(rows[row : row + 1])) for row in alone]
    disagreements = {
        row
        for positions, found in answers
        for row, label in zip(positions, found.labels, strict=True)
        if label != expected.labels[row]
    }
    fitted = np.asarray(expected.probabilities)
    differences = [
        float(np.abs(np.subtract(found.probabilities, fitted[positions])).max())
        for positions, found in answers
        if found.probabilities is not None
    ]
    return Agreement(
        precision=precision,
        rows_compared=len(rows),
        label_disagreements=len(disagreements),
        max_probability_difference=max(differences, default=0.0),
        tolerance=tolerance,
    )
