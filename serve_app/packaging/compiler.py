"""Compile a fitted classifier to ONNX, and keep the first form that is proved to agree."""

import warnings
from collections.abc import Sequence
from typing import Any, get_args

from serve_app.model.card import Compilation, Precision
from serve_app.model.features import Feature
from serve_app.model.onnx_predictor import OnnxPredictor
from serve_app.model.prediction import Prediction
from serve_app.model.predictor import Rows
from serve_app.model.tasks import Classification, Tolerances
from serve_app.packaging.proof import compare


def compile_to_onnx(
    estimator: Any,
    rows: Rows,
    expected: Prediction,
    *,
    features: Sequence[Feature],
    task: Classification,
    tolerances: Tolerances | None = None,
) -> tuple[bytes | None, Compilation]:
    """Compile ``estimator`` to ONNX in the first precision that agrees with scikit-learn.

    Single precision is tried first: it needs fewer operators and half the memory.

    Args:
        estimator: the fitted classifier.
        rows: where both forms are compared, see `comparison_rows`; shape [rows, features].
        expected: what scikit-learn answers to ``rows``.
        features: its columns.
        task: what it predicts. If every expected label is the most probable class, the compiled
            form needs to give probabilities only.
        tolerances: differences at which the forms agree; None leaves them to the task.

    Returns:
        The ONNX model, or None when no form agrees, and what was found.
    """
    refusals: list[str] = []
    allowed = tolerances or task.tolerances(expected)
    for precision in get_args(Precision):
        try:
            pruned = task.labels_follow_probabilities
            model = _convert(estimator, rows.shape[1], precision, pruned=pruned)
            compiled = OnnxPredictor(
                model, precision=precision, inputs="matrix", features=features, task=task
            )
            agreement = compare(compiled, precision, rows, expected, task=task, tolerances=allowed)
        except Exception as error:
            # skl2onnx and ONNX Runtime raise a dozen types for "not supported".
            cause = error.__cause__ or error
            reason = str(cause).strip().splitlines() or [""]
            refusals.append(f"{precision}: {type(cause).__name__}: {reason[0][:300]}")
            continue
        if agreement.disagreements:
            refusals.append(
                f"{precision}: {agreement.disagreements} of {len(rows)} answers differ, "
                f"numbers by up to {agreement.largest_difference:.3g}"
            )
            continue
        return model, Compilation(
            engine="onnx",
            reason=f"agrees with scikit-learn on all {agreement.rows_compared} rows compared",
            agreement=agreement,
            route="skl2onnx",
        )
    return None, Compilation(
        engine="sklearn", reason="no compiled form agrees; " + "; ".join(refusals)
    )


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
        # Raw scores are enough for the labels; skl2onnx's other operators lack double precision.
        options["raw_scores"] = True
    with warnings.catch_warnings():
        # They are about how skl2onnx uses scikit-learn; a user can do nothing about them.
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
        # Labels cost operators and a string tensor; an argmax gives the same answer.
        model = Extractor(model).extract_model(["rows"], [scores])
    elif not has_probabilities:
        # The scores are a decision function, which is not used.
        model = Extractor(model).extract_model(["rows"], [labels])
        # skl2onnx declares one score where there are two; every replica would log a warning.
        del model.graph.value_info[:]
    # skl2onnx takes them from a set, whose order differs from process to process.
    model.opset_import.sort(key=lambda opset: opset.domain)
    return bytes(model.SerializeToString())


def _steps(estimator: Any) -> list[Any]:
    """Fitted steps in one list: skl2onnx gives the last of a nested pipeline no options."""
    if hasattr(estimator, "best_estimator_"):
        return _steps(estimator.best_estimator_)
    if hasattr(estimator, "steps"):
        return [inner for _, step in estimator.steps for inner in _steps(step)]
    return [estimator]
