"""Compile a fitted estimator to ONNX, and keep the compiled form if it is proved to agree."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.model.card import Compilation, Precision
from serve_app.model.features import Feature
from serve_app.model.onnx_outputs import (
    POSITIONS,
    PROBABILITIES,
    SCORES,
    VALUES,
    probabilities_name,
)
from serve_app.model.onnx_predictor import OnnxPredictor
from serve_app.model.tasks import (
    Classification,
    MultiOutput,
    OutlierDetection,
    PlainPrediction,
    Regression,
    Task,
)
from serve_app.packaging.engines import emit
from serve_app.packaging.engines.graph import CannotCompileError, Graph, Tensor
from serve_app.packaging.engines.registry import two_columns
from serve_app.packaging.engines.table import rows_of
from serve_app.packaging.evidence import Evidence
from serve_app.packaging.proof import compare


@dataclass(frozen=True)
class CompiledForm:
    """An estimator as an ONNX model, not yet compared."""

    model: bytes
    precision: Precision
    route: str
    """How it was made, for people."""


def compiled_form(estimator: Any, features: Sequence[Feature], task: Task) -> CompiledForm:
    """Compile an estimator, computing as its library computes.

    Args:
        estimator: is fitted.
        features: its columns, in the order of the rows.
        task: what it predicts.

    Raises:
        CannotCompileError: a part of it, or a setting, has no compiled form.
    """
    try:
        graph = Graph(features)
        model = graph.model(_emitted(estimator, graph, task))
    except CannotCompileError:
        raise
    except Exception as error:
        # Fitted attributes are private to their libraries, and may be otherwise in one version.
        raise CannotCompileError(f"{type(error).__name__}: {_first_line(error)}") from error
    route = "tree ensemble" if graph.has_trees else "operators"
    return CompiledForm(model, graph.precision, route)


def thresholds(
    estimator: Any, features: Sequence[Feature], task: Task
) -> dict[int, NDArray[np.float64]]:
    """Values at which the trees of an estimator part, for positions of features.

    Only trees that read a feature as it is count: what is behind a transformation has thresholds of
    its own. A library that rounds to single precision has thresholds of single precision.

    Args:
        estimator: is fitted.
        features: its columns, in the order of the rows.
        task: what it predicts.

    Returns:
        Distinct values in ascending order; nothing where the estimator has no compiled form.
    """
    try:
        graph = Graph(features)
        _emitted(estimator, graph, task)
    except Exception:
        # `compiled_form` says why.
        return {}
    return {
        position: np.unique(np.concatenate(found).astype(np.float64))
        for position, found in graph.thresholds.items()
    }


def compile_model(
    estimator: Any, features: Sequence[Feature], task: Task, evidence: Evidence
) -> tuple[bytes | None, Compilation]:
    """Compile ``estimator``, if that form agrees with it.

    Args:
        estimator: is fitted.
        features: its columns, in the order of the rows.
        task: what it predicts. If every expected label is the most probable class, the compiled
            form gives probabilities only.
        evidence: rows to compare, and what the estimator answers to them.

    Returns:
        The ONNX model, or None if there is none that agrees, and what was found.
    """
    try:
        form = compiled_form(estimator, features, task)
    except CannotCompileError as error:
        return None, Compilation(engine="sklearn", reason=f"no compiled form: {error}")
    try:
        predictor = OnnxPredictor(
            form.model, precision=form.precision, features=features, task=task
        )
        agreement = compare(predictor, evidence, task, form.precision)
    except Exception as error:
        reason = f"no compiled form agrees; {form.route}: {_first_line(error)}"
        return None, Compilation(engine="sklearn", reason=reason)
    if agreement.disagreements:
        reason = (
            f"no compiled form agrees; {form.route}: {agreement.disagreements} of "
            f"{agreement.rows_compared} answers differ, numbers by up to "
            f"{agreement.largest_difference:.3g}"
        )
        return None, Compilation(engine="sklearn", reason=reason)
    return form.model, Compilation(
        engine="onnx",
        reason=f"agrees with the estimator on all {agreement.rows_compared:,} rows compared",
        agreement=agreement,
        route=form.route,
    )


def _emitted(estimator: Any, graph: Graph, task: Task) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        # They are about how steps are asked here; a user can do nothing about them.
        warnings.simplefilter("ignore")
        return _outputs(emit(estimator, rows_of(graph)), task)


def _outputs(emitter: Any, task: Task) -> dict[str, Tensor]:
    """The outputs of a task, see `serve_app.model.onnx_outputs`."""
    match task:
        case Classification():
            found = {}
            if task.has_probabilities:
                found[PROBABILITIES] = emitter.predict_proba().cast(np.float64)
            if not task.labels_follow_probabilities:
                found[POSITIONS] = emitter.predict()
            return found
        case MultiOutput():
            found = {POSITIONS: emitter.predict()}
            for place, chances in enumerate(_chances(emitter, task)):
                found[probabilities_name(place)] = chances
            return found
        case Regression():
            return {VALUES: emitter.predict().cast(np.float64)}
        case OutlierDetection():
            found = {VALUES: emitter.predict().cast(np.int64)}
            if task.has_score:
                found[SCORES] = emitter.decision_function()
            return found
        case PlainPrediction():
            return {VALUES: emitter.predict()}


def _chances(emitter: Any, task: MultiOutput) -> list[Tensor]:
    """Probabilities of each output."""
    if not task.has_probabilities:
        return []
    found = emitter.predict_proba()
    if isinstance(found, list):
        return found
    # One probability for each label, that of class 1.
    return [two_columns(found.columns([place])) for place in range(len(task.outputs))]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return lines[0][:300]
