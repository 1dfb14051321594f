"""Package any fitted estimator that predicts over a table as a model directory."""

import copy
import io
import json
import platform
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from serve_app.errors import UserError, excerpt, first_error
from serve_app.model.artifact import (
    EXTRAS,
    installed_version,
    require_replaceable,
    sha256,
    write_artifact,
)
from serve_app.model.card import (
    MODEL_FILE,
    ONNX_FILE,
    Compilation,
    Engine,
    EstimatorInput,
    ModelCard,
    Sample,
    TrainingData,
)
from serve_app.model.description import coverage_line
from serve_app.model.features import Feature
from serve_app.model.predictor import most_probable
from serve_app.model.sklearn_predictor import SklearnPredictor, asking
from serve_app.model.tasks import Classification, Task
from serve_app.packaging.compiler import compile_model, thresholds
from serve_app.packaging.estimator import (
    class_name,
    first_answered,
    given_forms,
    order_of_columns,
    own_names,
    require_estimator,
    rows_at,
    take,
    task_of,
)
from serve_app.packaging.evidence import Evidence, gather
from serve_app.packaging.features import (
    Corrections,
    corrections_of,
    declared_features,
    encode,
    infer_features,
)
from serve_app.packaging.fresh import Measured, load_in_fresh_process, warning_of
from serve_app.packaging.nullability import features_within_domain, without_missing
from serve_app.packaging.progress import Progress, Report, time_limit
from serve_app.packaging.sampling import Sampler
from serve_app.packaging.steps import facts_of, parts_of
from serve_app.packaging.tables import PackagingError, as_frame, names

RECORDED_LIBRARIES = ("scikit-learn", "numpy", "joblib", "onnxruntime", "onnx", "pandas")
KNOWN_ROWS = 1_000
"""Training rows on which it is found out what the estimator takes and predicts."""
MODULES = {"imbalanced-learn": "imblearn"}
"""Modules of libraries that have another name."""
COMPILE_SECONDS = 30.0
"""Time for compiling to each form; some compilers never end."""
LONGEST_DESCRIPTION = 2_000
"""Characters of the estimator's own description in the card."""


def package_model(
    estimator: Any,
    directory: Path,
    *,
    features: Sequence[Feature] | Corrections | None = None,
    training_data: Any = None,
    targets: Sequence[str] | None = None,
    name: str | None = None,
    metrics: Mapping[str, float] | None = None,
    fitted_with: str | None = None,
    report: Report | None = None,
) -> ModelCard:
    """Write ``estimator`` as a model directory that the service can load.

    Columns are inferred from ``training_data`` and from what the steps of the estimator say; what
    the estimator answers, such as missing values and unseen categories, is found out by asking it.

    Args:
        estimator: fitted, with ``predict`` over a table: of scikit-learn, or with its interface.
        directory: written whole; an existing model there is replaced.
        features: what is to be said otherwise of columns than is inferred: for names of columns the
            fields of `Feature`, or features, of which the fields that were set count. Without
            ``training_data``, names and ranges of all columns.
        training_data: the rows that the estimator was fitted on, without the target: a DataFrame of
            pandas, polars or pyarrow, an array of shape [rows, features], or texts. Needed unless
            ``features`` says enough; without it less is compared.
        targets: names of the outputs, if there are several; or of the only one.
        name: model name, shown to clients and in spans; by default what the estimator is.
        metrics: what is known of its quality, such as ``{"test_accuracy": 0.95}``.
        fitted_with: version of scikit-learn that fitted the estimator; None is the installed one.
        report: shows a line about what takes long or should be known; by default on standard error.

    Returns:
        The card as written.

    Raises:
        PackagingError: it cannot be packaged; says the cause and the fix.
        ArtifactError: ``directory`` holds something else than a model, or cannot be written.
    """
    return package(
        estimator,
        directory,
        features=features,
        training_data=training_data,
        targets=targets,
        name=name,
        metrics=metrics,
        fitted_with=fitted_with,
        report=report,
    ).card


class Packaged(NamedTuple):
    """A model directory that was written."""

    card: ModelCard
    directory: Path
    measured: Measured
    """What a replica needs, measured in a fresh process."""


def package(
    estimator: Any,
    directory: Path,
    *,
    features: Sequence[Feature] | Corrections | None = None,
    training_data: Any = None,
    targets: Sequence[str] | None = None,
    name: str | None = None,
    metrics: Mapping[str, float] | None = None,
    fitted_with: str | None = None,
    report: Report | None = None,
) -> Packaged:
    """As `package_model`, and returns what was measured too."""
    progress = Progress(report or _to_standard_error)
    try:
        with warnings.catch_warnings(), threadpool_limits(limits=1):
            # They are about how the estimator is asked here; answers are compared anyway. One
            # thread: threaded sums differ in the last bits, and the version follows them.
            warnings.simplefilter("ignore")
            require_replaceable(directory)
            packaging = _Packaging(estimator, progress, fitted_with)
            try:
                packaging.read(training_data, corrections_of(features), targets)
            except PackagingError as error:
                raise PackagingError(f"{error}{packaging.version_verdict()}") from error
            return packaging.write(directory, name, metrics)
    except UserError:
        raise
    except ValidationError as error:
        raise PackagingError(first_error(error)) from error
    except Exception as error:
        raise PackagingError(
            f"{class_name(estimator)} cannot be packaged: {progress.doing} failed with "
            f"{type(error).__name__}: {excerpt(str(error)) or 'no message'}; fix what it names, "
            "or correct the kinds of columns with a schema"
        ) from error


class _Known(NamedTuple):
    """What was found out of an estimator."""

    task: Task
    features: tuple[Feature, ...]
    takes: EstimatorInput
    rows: Any | None
    """Training rows that it answers; None if there are no training rows."""


class _Packaging:
    """The steps of packaging one estimator."""

    def __init__(self, estimator: Any, progress: Progress, fitted_with: str | None) -> None:
        require_estimator(estimator)
        self._libraries = _library_versions(estimator)
        # The predictor sets n_jobs; the caller's estimator stays as it is.
        self._estimator = copy.deepcopy(estimator)
        self._described = _description(estimator)
        self._progress = progress
        self._fitted_with = fitted_with or self._libraries["scikit-learn"]
        if self.version_verdict():
            progress.report(
                f"warning: what is served is what this environment answers{self.version_verdict()}"
            )

    def read(
        self, training_data: Any, corrections: Corrections, targets: Sequence[str] | None
    ) -> None:
        """Find out what the estimator predicts, takes and answers."""
        with self._progress.step("asking the estimator what it takes"):
            if training_data is None:
                self._known = self._from_declaration(corrections, targets)
            else:
                self._known = self._from_data(training_data, corrections, targets)
        self._reference = SklearnPredictor(
            self._estimator, self._known.task, self._known.features, self._known.takes
        )

    def write(
        self, directory: Path, name: str | None, metrics: Mapping[str, float] | None
    ) -> Packaged:
        """Compile, compare, describe and write the estimator."""
        task, features, takes, rows = self._known
        with self._progress.step("asking the estimator for rows to compare"):
            parts = thresholds(self._estimator, features, task)
            evidence = gather(self._reference.predict, features, task, rows, thresholds=parts)
        if not evidence.expected.values:
            raise PackagingError(
                f"{class_name(self._estimator)} answers none of the rows that were tried; give "
                "the rows that it was fitted on"
            )
        task = _with_labels_that_follow(task, evidence)
        with self._progress.step("compiling the estimator and comparing its answers"):
            compiled, compilation = self._compile(features, task, evidence)
        files = {MODEL_FILE: _pickled(self._estimator)}
        if compiled is not None:
            files[ONNX_FILE] = compiled
        card = ModelCard(
            name=name or task.noun,
            estimator=self._described,
            estimator_input=takes,
            fitted_with=self._fitted_with,
            features=features,
            task=task,
            metrics=dict(metrics or {}),
            training_data=self._training_data,
            libraries=self._libraries,
            compilation=compilation,
            files={},
            sample=_sample(features, task, evidence),
        )
        with self._progress.step("loading the model in a fresh process"):
            card = write_artifact(directory, card, files, check=self._check(card))
        return Packaged(card, directory, self._measured)

    def _from_data(
        self, training_data: Any, corrections: Corrections, targets: Sequence[str] | None
    ) -> _Known:
        is_table = hasattr(training_data, "columns")
        columns = None if is_table else list(corrections) or list(own_names(self._estimator))
        frame = as_frame(training_data, columns or None)
        order = order_of_columns(self._estimator, list(frame.columns))
        original = None
        if isinstance(training_data, np.ndarray) and training_data.ndim <= 2:  # noqa: PLR2004
            original = training_data
            if order != list(frame.columns):
                original = original[:, [frame.columns.get_loc(name) for name in order]]
        frame = frame[order]
        facts = facts_of(self._estimator, order)
        draft = infer_features(frame, facts, corrections)
        rows = encode(frame, draft)
        self._training_data: TrainingData | None = TrainingData(
            rows=len(rows), sha256=sha256(_bytes_of(rows))
        )

        chosen = np.linspace(0, len(rows) - 1, min(KNOWN_ROWS, len(rows)), dtype=int)
        complete = np.flatnonzero(frame.notna().all(axis=1).to_numpy())
        attempts = [chosen]
        if 0 < len(complete) < len(rows):
            attempts.append(complete[:KNOWN_ROWS])
        form, values, asked = self._given(frame, original, facts, attempts)
        if hasattr(form, "dtypes") and not form.dtypes.equals(frame.dtypes):
            draft = infer_features(form, facts, corrections)
            rows = encode(form, draft)
        given = rows_at(form, asked)
        task = task_of(self._estimator, given, values, targets)
        expected = asking(task, self._estimator)(given)
        taken = take(self._estimator, task, draft, rows[asked], expected)
        features = features_within_domain(
            partial(SklearnPredictor, self._estimator, task, estimator_input=taken.takes),
            draft,
            rows[asked],
            corrections,
            in_frames=taken.takes == "frame",
        )
        usable = rows[without_missing(rows, features)]
        if len(usable) < len(rows):
            self._progress.report(
                f"{len(rows) - len(usable):,} of {len(rows):,} training rows have missing values "
                "that the estimator does not answer; they are not compared, and such requests are "
                "refused"
            )
        return _Known(task, features, taken.takes, usable)

    def _given(
        self, frame: Any, original: Any, facts: Any, attempts: Sequence[Any]
    ) -> tuple[Any, Any, Any]:
        """Training rows as the estimator takes them, its predictions for some, and for which."""
        problem: PackagingError | None = None
        for asked in attempts:
            try:
                forms = given_forms(frame, original, facts)
                return *first_answered(self._estimator, forms, asked), asked
            except PackagingError as error:
                problem = problem or error
        raise problem or PackagingError("there are no training rows")

    def _from_declaration(self, corrections: Corrections, targets: Sequence[str] | None) -> _Known:
        if not corrections:
            raise PackagingError("give features, or training_data to take them from")
        order = order_of_columns(self._estimator, list(corrections))
        draft = declared_features(facts_of(self._estimator, order), corrections)
        self._training_data = None
        made = Sampler(draft, None).pool
        facts = facts_of(self._estimator, order)
        forms = given_forms(_frame_of(draft, made), made, facts)
        given, values = first_answered(self._estimator, forms, slice(None))
        task = task_of(self._estimator, given, values, targets)
        taken = take(self._estimator, task, draft, made, None)
        features = features_within_domain(
            partial(SklearnPredictor, self._estimator, task, estimator_input=taken.takes),
            draft,
            made,
            corrections,
            in_frames=taken.takes == "frame",
        )
        return _Known(task, features, taken.takes, None)

    def _compile(
        self, features: tuple[Feature, ...], task: Task, evidence: Evidence
    ) -> tuple[bytes | None, Compilation]:
        if evidence.gap is not None:
            return None, Compilation(engine="sklearn", reason=evidence.gap)
        with time_limit(COMPILE_SECONDS):
            return compile_model(self._estimator, features, task, evidence)

    def _check(self, card: ModelCard) -> Callable[[Path], None]:
        """Loads what was written as a replica does, and in the form that it falls back to."""
        serving = card.compilation.engine
        engines: tuple[Engine, ...] = (serving,) if serving == "sklearn" else (serving, "sklearn")

        def check(directory: Path) -> None:
            self._measured = load_in_fresh_process(directory, engines)[serving]
            warning = warning_of(self._measured)
            if warning is not None:
                self._progress.report(warning)

        return check

    def version_verdict(self) -> str:
        """What follows of another version of scikit-learn, if another one fitted the estimator."""
        installed, fitted = self._libraries["scikit-learn"], self._fitted_with
        if _minor(installed) == _minor(fitted):
            return ""
        return (
            f"; it was fitted with scikit-learn {fitted}, and installed is {installed}, which need "
            f"not answer the same: fit it again, or package where scikit-learn=={fitted} is "
            "installed"
        )


def _with_labels_that_follow(task: Task, evidence: Evidence) -> Task:
    """For a classifier: whether every label is the most probable class."""
    if not isinstance(task, Classification) or evidence.expected.scores is None:
        return task
    followed = most_probable(np.asarray(evidence.expected.scores), task.classes)
    return task.model_copy(
        update={"labels_follow_probabilities": followed.values == evidence.expected.values}
    )


def _sample(features: Sequence[Feature], task: Task, evidence: Evidence) -> Sample:
    """The first row that was compared, with the estimator's answer."""
    row = evidence.rows[0]
    values, scores = evidence.expected
    return Sample(
        instance={
            feature.name: _json_value(feature, value)
            for feature, value in zip(features, row.tolist(), strict=True)
        },
        answer=task.answer(values[0], None if scores is None else scores[0]),
    )


def _json_value(feature: Feature, value: Any) -> Any:
    """A cell of a row as a request has it."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    if feature.kind == "boolean":
        return bool(value)
    if feature.kind == "category":
        return next((known for known in feature.values if known == value), value)
    return int(value) if feature.kind == "integer" else value


def _frame_of(features: Sequence[Feature], rows: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=[feature.name for feature in features]).infer_objects()


def _description(estimator: Any) -> str:
    """What the estimator says of itself, without addresses, which differ from run to run."""
    text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(estimator).split()))
    return text[:LONGEST_DESCRIPTION]


def _bytes_of(rows: Any) -> bytes:
    if rows.dtype == np.float64:
        return np.ascontiguousarray(rows).tobytes()
    return json.dumps(rows.tolist()).encode()


def _library_versions(estimator: Any) -> dict[str, str]:
    try:
        versions = {library: metadata.version(library) for library in RECORDED_LIBRARIES}
    except metadata.PackageNotFoundError as error:
        raise PackagingError(
            f"{error.name} is not installed; packaging needs it, serving does not: install "
            "serve-app[package]"
        ) from error
    modules = {type(part).__module__.partition(".")[0] for part in parts_of(estimator)}
    for library in sorted(set(EXTRAS) - set(versions)):
        if MODULES.get(library, library) in modules:
            versions[library] = installed_version(library)
    return {"python": platform.python_version()} | versions


def _pickled(estimator: Any) -> bytes:
    import joblib

    buffer = io.BytesIO()
    try:
        joblib.dump(estimator, buffer)
    except Exception as error:
        raise PackagingError(
            f"{class_name(estimator)} cannot be written to a file: {excerpt(str(error))}; use "
            "named functions and classes of installed packages instead of lambdas and functions "
            "inside of functions"
        ) from error
    return buffer.getvalue()


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr)


def summary(card: ModelCard, directory: Path, measured: Measured | None = None) -> str:
    """What was packaged, as a table.

    Args:
        card: of the model.
        directory: where it is.
        measured: what a replica needs; None: the model is loaded in a fresh process to measure it.
    """
    compilation = card.compilation
    engine = compilation.engine
    measured = measured or load_in_fresh_process(directory, (engine,))[engine]
    lines = {
        "task": card.task.name,
        **card.task.facts(),
        "columns": names([f"{each.name} ({each.kind})" for each in card.features]),
        "engine": f"{engine}, {compilation.route or 'the estimator itself'}",
        "reason": compilation.reason,
    }
    if compilation.agreement is not None:
        lines["coverage"] = coverage_line(compilation.agreement.coverage)
    lines["one row"] = f"{measured.row_seconds * 1e6:,.0f} µs"
    lines["replica"] = f"{measured.megabytes:,.0f} MB, loaded in {measured.seconds:.1f} s"
    width = max(map(len, lines))
    table = "\n".join(f"  {title:<{width}}  {text}" for title, text in lines.items())
    return f"{card.name} {card.version} -> {directory}\n{table}"
