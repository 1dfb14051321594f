"""Whether an estimator answers a row the same each time, alone or among others."""

import numpy as np

from serve_app.errors import excerpt
from serve_app.model.prediction import Prediction
from serve_app.model.tasks import Task
from serve_app.packaging.domain import Ask, joined
from serve_app.packaging.evidence import Evidence
from serve_app.packaging.tables import PackagingError

ROWS_ALONE = 20
"""Rows that are asked for one by one, evenly from the training data or, without it, from mixtures:
few of them are so near to a decision that rounding changes it."""
SHARE_OF_CHANCE = 0.1
"""Of those rows, so many may have another answer by rounding."""
FIX = (
    "requests have one row or many, so learn in fit what it takes from the rows that it is asked "
    "for, such as their mean or their order"
)


def require_same_answer_again(
    title: str, task: Task, again: Prediction, expected: Prediction
) -> None:
    """Compare two answers to the same rows in the same form.

    Raises:
        PackagingError: they differ.
    """
    different = task.compare(again, expected, task.tolerances(expected)).disagreements
    if different:
        raise PackagingError(
            f"{title} answers {len(different)} of {len(expected.values)} rows otherwise when it is "
            "asked again; make it answer the same each time, such as with a fixed random_state"
        )


def require_same_answer_alone(title: str, task: Task, ask: Ask, evidence: Evidence) -> None:
    """Ask for some rows of ``evidence`` one by one.

    Raises:
        PackagingError: rows alone have other answers than among others.
    """
    usual = evidence.coverage.training_rows or min(1_000, len(evidence.rows))
    chosen = np.linspace(0, usual - 1, min(ROWS_ALONE, usual), dtype=int).tolist()
    values, scores = evidence.expected
    expected = Prediction(
        [values[at] for at in chosen], None if scores is None else [scores[at] for at in chosen]
    )
    cause = "its answers depend on the batch"
    try:
        alone = joined([ask(evidence.rows[at : at + 1]) for at in chosen])
    except Exception as error:
        raise PackagingError(
            f"{title} does not answer a row alone that it answers among others "
            f"({type(error).__name__}: {excerpt(str(error))}): {cause}; {FIX}"
        ) from error
    different = task.compare(alone, expected, task.tolerances(expected)).disagreements
    if len(different) > SHARE_OF_CHANCE * len(chosen):
        raise PackagingError(
            f"{title} answers {len(different)} of {len(chosen)} rows otherwise alone than among "
            f"others: {cause}; {FIX}"
        )
