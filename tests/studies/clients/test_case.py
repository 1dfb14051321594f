"""The case that all clients ask about."""

from pathlib import Path
from typing import Any

import pytest

from studies.clients.case import Case
from studies.clients.served import make_case
from tests.support.tables import mixed_model


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    directory = tmp_path_factory.mktemp("case") / "model"
    mixed_model().write(directory)
    return make_case(directory, "http://localhost:1", "localhost:2")


def gaps(row: dict[str, Any]) -> list[str]:
    return [name for name, value in row.items() if value is None]


def test_other_processes_read_the_same_case(case: Case, tmp_path: Path) -> None:
    """Rows keep their types and their order of columns."""
    case.write(tmp_path / "case.json")
    assert Case.read(tmp_path / "case.json") == case
    assert [list(row) for row in case.rows] == [case.columns] * len(case.rows)


def test_rows_are_of_every_class_and_some_have_a_gap(case: Case) -> None:
    """The answers are the model's own: half of them would be right by chance otherwise."""
    assert {True, False} == set(case.labels)
    assert [name for row in case.rows for name in gaps(row)] == case.optional
    assert all(sum(row) == pytest.approx(1) for row in case.probabilities)
    assert not case.numeric


def test_parts_keep_rows_and_answers_together(case: Case) -> None:
    """Full rows only; and the first row with a gap, without the column that it lacks."""
    full = case.without_gaps()
    assert len(full.rows) == len(full.labels) == len(full.probabilities)
    assert len(full.rows) == len(case.rows) - len(case.optional)
    assert not any(map(gaps, full.rows))
    one = case.one_gap()
    (row,) = one.rows
    assert list(row) == one.columns == [each for each in case.columns if each != case.optional[0]]
    assert one.answers == [case.labels[1:2], case.probabilities[1:2]]
    assert full.one_gap().rows == []


def test_a_column_has_one_type(case: Case) -> None:
    """Whole numbers among others are floats."""
    types = [case.column_type(name) for name in ("age", "code", "member", "note")]
    assert types == [int, float, bool, str]
