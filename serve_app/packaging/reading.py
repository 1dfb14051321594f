"""What an estimator predicts, takes and answers: read from data and from the estimator itself."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from serve_app.model.artifact import sha256
from serve_app.model.card import EstimatorInput, TrainingData
from serve_app.model.features import Feature
from serve_app.model.sklearn_predictor import SklearnPredictor, asking
from serve_app.model.tasks import Task
from serve_app.packaging.contents import bytes_of
from serve_app.packaging.corrections import Corrections
from serve_app.packaging.estimator import class_name, order_of_columns, own_names
from serve_app.packaging.features import declared_features, infer_features
from serve_app.packaging.forms import first_answered, given_forms, rows_at, taken_form
from serve_app.packaging.moments import with_declared_moments
from serve_app.packaging.nullability import features_within_domain, without_missing
from serve_app.packaging.outputs import task_of
from serve_app.packaging.progress import Report
from serve_app.packaging.repeats import require_same_answer_again
from serve_app.packaging.rows import encode
from serve_app.packaging.sampling import Sampler
from serve_app.packaging.spellings import odd_spellings
from serve_app.packaging.steps import facts_of
from serve_app.packaging.tables import PackagingError, as_frame

KNOWN_ROWS = 1_000
"""Training rows on which it is found out what the estimator takes and predicts."""


class Known(NamedTuple):
    """What was found out of an estimator."""

    task: Task
    features: tuple[Feature, ...]
    takes: EstimatorInput
    rows: Any | None
    """Training rows that it answers; None if there are no training rows."""
    training_data: TrainingData | None


class Reader:
    """Reads one estimator."""

    def __init__(
        self,
        estimator: Any,
        corrections: Corrections,
        targets: Sequence[str] | None,
        report: Report,
    ) -> None:
        """Take an estimator.

        Args:
            estimator: it is fitted.
            corrections: what a user says of columns.
            targets: names of its outputs; None for the default ones.
            report: shows a line about what should be known.
        """
        self._estimator = estimator
        self._corrections = corrections
        self._targets = targets
        self._report = report

    def from_data(self, training_data: Any) -> Known:
        """From training rows, a table or an array.

        Raises:
            PackagingError: the estimator does not answer them, or they are no table.
        """
        is_table = hasattr(training_data, "columns")
        columns = None if is_table else list(self._corrections) or list(own_names(self._estimator))
        frame = as_frame(training_data, columns or None)
        order = order_of_columns(self._estimator, list(frame.columns))
        original = None
        if isinstance(training_data, np.ndarray) and training_data.ndim <= 2:  # noqa: PLR2004
            original = training_data
            if order != list(frame.columns):
                original = original[:, [frame.columns.get_loc(name) for name in order]]
        frame = with_declared_moments(frame[order], self._corrections)
        facts = facts_of(self._estimator, order)
        draft = infer_features(frame, facts, self._corrections)
        rows = encode(frame, draft)
        identity = TrainingData(rows=len(rows), sha256=sha256(bytes_of(rows)))

        chosen = np.linspace(0, len(rows) - 1, min(KNOWN_ROWS, len(rows)), dtype=int)
        complete = np.flatnonzero(frame.notna().all(axis=1).to_numpy())
        attempts = [chosen]
        if 0 < len(complete) < len(rows):
            attempts.append(complete[:KNOWN_ROWS])
        form, values, asked = self._given(frame, original, facts, attempts)
        if hasattr(form, "dtypes") and not form.dtypes.equals(frame.dtypes):
            draft = infer_features(form, facts, self._corrections)
            rows = encode(form, draft)
        given = rows_at(form, asked)
        task = task_of(self._estimator, given, values, self._targets)
        expected = asking(task, self._estimator)(given)
        try:
            takes = taken_form(self._estimator, task, draft, rows[asked], expected)
        except PackagingError:
            again = asking(task, self._estimator)(given)
            require_same_answer_again(class_name(self._estimator), task, again, expected)
            raise
        features = features_within_domain(
            partial(SklearnPredictor, self._estimator, task, estimator_input=takes),
            draft,
            rows[asked],
            self._corrections,
            in_frames=takes == "frame",
        )
        usable = rows[without_missing(rows, features)]
        if len(usable) < len(rows):
            self._report(
                f"{len(rows) - len(usable):,} of {len(rows):,} training rows have missing values "
                "that the estimator does not answer; they are not compared, and such requests are "
                "refused"
            )
        return Known(task, features, takes, usable, identity)

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
        if problem is None:
            raise PackagingError("there are no training rows")
        raise PackagingError(f"{problem}{odd_spellings(frame)}") from problem

    def from_declaration(self) -> Known:
        """From what the user says of columns.

        Raises:
            PackagingError: that is too little, or the estimator answers no row that is made of it.
        """
        if not self._corrections:
            raise PackagingError("give features, or training_data to take them from")
        order = order_of_columns(self._estimator, list(self._corrections))
        draft = declared_features(facts_of(self._estimator, order), self._corrections)
        made = Sampler(draft, None).pool
        facts = facts_of(self._estimator, order)
        forms = given_forms(_frame_of(draft, made), made, facts)
        given, values = first_answered(self._estimator, forms, slice(None))
        task = task_of(self._estimator, given, values, self._targets)
        takes = taken_form(self._estimator, task, draft, made, None)
        features = features_within_domain(
            partial(SklearnPredictor, self._estimator, task, estimator_input=takes),
            draft,
            made,
            self._corrections,
            in_frames=takes == "frame",
        )
        return Known(task, features, takes, None, None)


def _frame_of(features: Sequence[Feature], rows: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=[feature.name for feature in features]).infer_objects()
