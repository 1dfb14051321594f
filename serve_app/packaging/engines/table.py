"""Tables of columns that flow through a graph, from step to step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from serve_app.packaging.engines.graph import CannotCompileError, Graph, Tensor
from serve_app.packaging.engines.values import is_missing


@dataclass(frozen=True)
class Column:
    """What is known of a column of a table."""

    name: str | None = None
    """Name by which a step may select it."""
    source: int | None = None
    """Position of the feature that it is, its values untouched."""
    feature: int | None = None
    """Position of the feature whose codes it holds; None: it holds numbers."""
    category: bool = False
    """Whether it holds a feature of that kind, untouched."""
    integral: bool = False
    """Whether it holds integers (or NaN) only."""
    is_text: bool = False
    """Whether it is a column of texts, which has no place in the matrix."""
    is_datetime: bool = False
    """Whether it is a column of datetimes, which has no place in the matrix either."""

    @property
    def in_matrix(self) -> bool:
        """Whether it has a place in the matrix."""
        return not (self.is_text or self.is_datetime)


@dataclass(frozen=True)
class Table:
    """Columns of rows: a matrix of double precision, and perhaps text columns beside it."""

    graph: Graph
    matrix: Tensor | None
    columns: tuple[Column, ...]
    is_sparse: bool = False
    """Whether the library holds it as a sparse matrix, with nothing where it is zero."""

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.columns)

    def numbers(self, owner: Any) -> Tensor:
        """The matrix, for a step that computes with numbers.

        Raises:
            CannotCompileError: there are strings among the columns.
        """
        if any(column.feature is not None for column in self.columns):
            raise CannotCompileError(f"{type(owner).__name__} over strings")
        return self.values(owner)

    def values(self, owner: Any) -> Tensor:
        """The matrix, strings as codes.

        Raises:
            CannotCompileError: there are columns of texts or datetimes, or no columns.
        """
        if any(column.is_datetime for column in self.columns):
            raise CannotCompileError(f"{type(owner).__name__} over datetimes")
        if self.matrix is None or any(column.is_text for column in self.columns):
            raise CannotCompileError(f"{type(owner).__name__} over text")
        return self.matrix

    def select(self, positions: Sequence[int]) -> "Table":
        """Some columns, in the given order."""
        if list(positions) == list(range(self.width)):
            return self
        places = self._places()
        wanted = [places[position] for position in positions]
        inside = [place for place in wanted if place is not None]
        matrix = None
        if self.matrix is not None and inside:
            whole = inside == [place for place in places if place is not None]
            matrix = self.matrix if whole else self.matrix.columns(inside)
        columns = tuple(self.columns[position] for position in positions)
        return replace(self, matrix=matrix, columns=columns)

    def _places(self) -> list[int | None]:
        """Place of each column in the matrix."""
        count = 0
        places: list[int | None] = []
        for column in self.columns:
            places.append(count if column.in_matrix else None)
            count += column.in_matrix
        return places

    def with_matrix(self, matrix: Tensor, **changes: Any) -> "Table":
        """The same columns with other values."""
        columns = tuple(
            replace(column, source=None, category=False, **changes) for column in self.columns
        )
        return replace(self, matrix=matrix, columns=columns)

    def of_numbers(self, matrix: Tensor, width: int, *, is_sparse: bool = False) -> "Table":
        """A table of new columns without names."""
        return Table(self.graph, matrix, (Column(),) * width, is_sparse)

    def code(self, column: Column, value: Any) -> float:
        """What stands for a value in a column; NaN for a missing one, a number as it is.

        Raises:
            CannotCompileError: a string in a column of numbers.
        """
        if is_missing(value):
            return math.nan
        if column.feature is not None:
            return self.graph.code(column.feature, value)
        # Not float(value): "1" is no number to the estimator.
        if not isinstance(value, int | float | np.number | np.bool_):
            raise CannotCompileError(
                f"{value!r} in a column of numbers, {column.name or 'without a name'}"
            )
        return float(value)

    def known_values(self, column: Column) -> list[Any] | None:
        """Values of a column of codes, by code; None for a column of numbers."""
        return None if column.feature is None else self.graph.coded_values(column.feature)


def joined(tables: Sequence[Table]) -> Table:
    """Tables side by side."""
    graph = tables[0].graph
    matrices = [table.matrix for table in tables if table.matrix is not None]
    matrix = None
    if matrices:
        matrix = (
            matrices[0] if len(matrices) == 1 else matrices[0].op("Concat", *matrices[1:], axis=1)
        )
    columns = tuple(column for table in tables for column in table.columns)
    return Table(graph, matrix, columns, any(table.is_sparse for table in tables))


def rows_of(graph: Graph) -> Table:
    """The rows that the model gets."""
    columns = []
    for position, feature in enumerate(graph.features):
        has_codes = graph.has_codes(position)
        columns.append(
            Column(
                name=feature.name,
                source=position,
                feature=position if has_codes else None,
                category=feature.kind == "category",
                integral=feature.kind in ("integer", "boolean") or has_codes,
                is_text=feature.kind == "text",
                is_datetime=feature.kind == "datetime",
            )
        )
    matrix = [place for place, column in enumerate(columns) if column.in_matrix]
    if len(matrix) < len(columns):
        # Texts and datetimes are not in the matrix: their columns hold zeros.
        return Table(graph, graph.rows.columns(matrix) if matrix else None, tuple(columns))
    return Table(graph, graph.rows, tuple(columns))
