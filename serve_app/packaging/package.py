"""Package any fitted estimator that predicts over a table as a model directory."""

import copy
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from serve_app.errors import UserError, excerpt, first_error
from serve_app.model.artifact import (
    require_replaceable,
    write_artifact,
)
from serve_app.model.card import (
    MODEL_FILE,
    ONNX_FILE,
    Compilation,
    Engine,
    ModelCard,
)
from serve_app.model.features import Feature
from serve_app.model.sklearn_predictor import SklearnPredictor
from serve_app.model.tasks import Task
from serve_app.packaging.compiler import compile_model, thresholds
from serve_app.packaging.contents import (
    description_of,
    pickled,
    require_json,
    sample_of,
    with_labels_that_follow,
)
from serve_app.packaging.corrections import Corrections, corrections_of
from serve_app.packaging.estimator import class_name, require_estimator
from serve_app.packaging.evidence import Evidence, gather
from serve_app.packaging.fresh import Measured, load_in_fresh_process, warning_of
from serve_app.packaging.libraries import library_versions
from serve_app.packaging.progress import Progress, Report, time_limit
from serve_app.packaging.reading import Reader
from serve_app.packaging.repeats import require_same_answer_alone
from serve_app.packaging.tables import PackagingError

COMPILE_SECONDS = 30.0
"""Processor time for compiling and comparing."""


def package_model(
    estimator: Any,
    directory: str | os.PathLike[str],
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
    directory: str | os.PathLike[str],
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
    directory = Path(directory)
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
    except (Exception, SystemExit) as error:
        # An estimator may do anything when it is asked, also end the program.
        raise PackagingError(
            f"{class_name(estimator)} cannot be packaged: {progress.doing} failed with "
            f"{type(error).__name__}: {excerpt(str(error)) or 'no message'}; fix what it names, "
            "or correct the kinds of columns with a schema"
        ) from error


class _Packaging:
    """The steps of packaging one estimator."""

    def __init__(self, estimator: Any, progress: Progress, fitted_with: str | None) -> None:
        require_estimator(estimator)
        self._libraries = library_versions(estimator)
        # The predictor sets n_jobs; the caller's estimator stays as it is.
        self._estimator = copy.deepcopy(estimator)
        self._described = description_of(estimator)
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
            reader = Reader(self._estimator, corrections, targets, self._progress.report)
            self._known = (
                reader.from_declaration()
                if training_data is None
                else reader.from_data(training_data)
            )
        self._reference = SklearnPredictor(
            self._estimator, self._known.task, self._known.features, self._known.takes
        )

    def write(
        self, directory: Path, name: str | None, metrics: Mapping[str, float] | None
    ) -> Packaged:
        """Compile, compare, describe and write the estimator."""
        task, features, takes, rows, training_data = self._known
        with self._progress.step("asking the estimator for rows to compare"):
            parts = thresholds(self._estimator, features, task)
            evidence = gather(self._reference.predict, features, task, rows, thresholds=parts)
        if not evidence.expected.values:
            raise PackagingError(
                f"{class_name(self._estimator)} answers none of the rows that were tried; give "
                "the rows that it was fitted on"
            )
        require_same_answer_alone(
            class_name(self._estimator), task, self._reference.predict, evidence
        )
        require_json(task, evidence)
        task = with_labels_that_follow(self._estimator, task, evidence)
        with self._progress.step("compiling the estimator and comparing its answers"):
            compiled, compilation = self._compile(features, task, evidence)
        files = {MODEL_FILE: pickled(self._estimator)}
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
            training_data=training_data,
            libraries=self._libraries,
            compilation=compilation,
            files={},
            sample=sample_of(features, task, evidence),
        )
        with self._progress.step("loading the model in a fresh process"):
            card = write_artifact(directory, card, files, check=self._check(card))
        return Packaged(card, directory, self._measured)

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


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr)
