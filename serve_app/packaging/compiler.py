"""Compile a fitted estimator to ONNX, and keep the first form that is proved to agree."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.model.card import Compilation, CompiledInputs, Precision
from serve_app.model.features import Feature
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
from serve_app.packaging.proof import Evidence, compare


@dataclass(frozen=True)
class Candidate:
    """A compiled form, not yet compared."""

    model: bytes
    precision: Precision
    inputs: CompiledInputs
    route: str


@dataclass(frozen=True)
class Refusal:
    """A route that cannot compile the estimator."""

    route: str
    reason: str


def candidates(
    estimator: Any, features: Sequence[Feature], task: Task
) -> Iterator[Candidate | Refusal]:
    """Compiled forms of an estimator, made one after another when asked for.

    Where skl2onnx converts a part, it does so in single precision first, which is faster, and
    which some of its operators need. All else is computed as its library computes it.

    Args:
        estimator: is fitted.
        features: its columns, in the order of the rows.
        task: what it predicts.
    """
    for leaf_type in (np.float32, np.float64):
        graph = None
        try:
            graph = Graph(features, leaf_type)
            model = graph.model(_emitted(estimator, graph, task))
        except Exception as error:
            # Estimators, skl2onnx and ONNX raise a dozen types for "not supported".
            yield Refusal(_route(graph), _cause(error))
        else:
            yield Candidate(model, graph.precision, "matrix", _route(graph))
        if graph is None or not graph.leaves:
            # No part depends on the type.
            return


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
        # `candidates` says why.
        return {}
    return {
        position: np.unique(np.concatenate(found).astype(np.float64))
        for position, found in graph.thresholds.items()
    }


def _emitted(estimator: Any, graph: Graph, task: Task) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        # They are about how steps are asked here; a user can do nothing about them.
        warnings.simplefilter("ignore")
        return _outputs(emit(estimator, graph.rows), task)


def _outputs(emitter: Any, task: Task) -> dict[str, Tensor]:
    """The outputs that `OnnxPredictor` reads for a task."""
    match task:
        case Classification():
            found = {}
            if task.has_probabilities:
                found["probabilities"] = emitter.predict_proba().cast(np.float64)
            if not task.labels_follow_probabilities:
                found["positions"] = emitter.predict()
            return found
        case MultiOutput():
            found = {"positions": emitter.predict()}
            if task.has_probabilities:
                chances = emitter.predict_proba()
                chances = chances if isinstance(chances, list) else [chances]
                found |= {f"probabilities_{i}": each for i, each in enumerate(chances)}
            return found
        case Regression():
            return {"values": emitter.predict().cast(np.float64)}
        case OutlierDetection():
            found = {"labels": emitter.predict().cast(np.int64)}
            if task.has_score:
                found["scores"] = emitter.decision_function()
            return found
        case PlainPrediction():
            return {"values": emitter.predict()}


def _route(graph: Graph | None) -> str:
    parts = [] if graph is None or not graph.has_trees else ["tree ensemble"]
    if graph is not None and graph.leaves:
        parts.append(f"skl2onnx for {', '.join(dict.fromkeys(graph.leaves))}, {graph.leaf_type}")
    return " and ".join(parts) or "operators"


def _cause(error: BaseException) -> str:
    if isinstance(error, CannotCompileError):
        return str(error)
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0][:300]}"


def compile_model(
    estimator: Any, features: Sequence[Feature], task: Task, evidence: Evidence
) -> tuple[bytes | None, Compilation]:
    """Compile ``estimator`` to the first form that agrees with it.

    Args:
        estimator: is fitted.
        features: its columns, in the order of the rows.
        task: what it predicts. If every expected label is the most probable class, the compiled
            form gives probabilities only.
        evidence: rows to compare, and what the estimator answers to them.

    Returns:
        The ONNX model, or None when no form agrees, and what was found.
    """
    refusals: list[str] = []
    for form in candidates(estimator, features, task):
        if isinstance(form, Refusal):
            refusals.append(f"{form.route}: {form.reason}")
            continue
        try:
            compiled = OnnxPredictor(
                form.model,
                precision=form.precision,
                inputs=form.inputs,
                features=features,
                task=task,
            )
            agreement = compare(compiled, evidence, task, form.precision)
        except Exception as error:
            refusals.append(f"{form.route}: {_cause(error)}")
            continue
        if agreement.disagreements:
            refusals.append(
                f"{form.route}: {agreement.disagreements} of {agreement.rows_compared} answers "
                f"differ, numbers by up to {agreement.largest_difference:.3g}"
            )
            continue
        return form.model, Compilation(
            engine="onnx",
            reason=f"agrees with the estimator on all {agreement.rows_compared} rows compared",
            agreement=agreement,
            inputs=form.inputs,
            route=form.route,
        )
    return None, Compilation(
        engine="sklearn", reason="no compiled form agrees; " + "; ".join(refusals)
    )
