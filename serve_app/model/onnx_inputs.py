"""What a compiled model takes: a matrix of numbers and codes, and counts of the terms of texts."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.model.features import Feature
from serve_app.model.predictor import Rows
from serve_app.model.text import TermCounter

COUNTERS = "counters"
"""Key of a model's metadata: which terms of a text column the model takes the counts of, as JSON.
The number of an entry is that of the input, see `counts_name`."""
VOCABULARIES = "vocabularies"
"""Key of a model's metadata: for positions of columns of the matrix the values whose codes, from 0
on, the model takes, as JSON. A missing value is NaN as in every column."""
UNREAD = "unread"
"""Key of a model's metadata: positions of columns of strings that no step reads, as JSON."""
UNSEEN = -1.0
"""Code of a value that is in no vocabulary."""


def counts_name(number: int) -> str:
    """Name of the input with the counts of an entry of `COUNTERS`, shape [rows, terms]."""
    return f"counts_{number}"


class Inputs:
    """Makes the input tensors of a model of rows."""

    def __init__(self, session: Any, dtype: Any, features: Sequence[Feature]) -> None:
        """Read what the model takes.

        Args:
            session: has loaded it.
            dtype: type of the matrix.
            features: columns of the rows.

        Raises:
            ValueError: a column of strings whose codes or terms the model does not name.
        """
        facts = session.get_modelmeta().custom_metadata_map
        self._dtype = dtype
        self._row = np.zeros((1, len(features)), dtype)
        self._texts = [
            _Counts(number, **entry)
            for number, entry in enumerate(json.loads(facts.get(COUNTERS, "[]")))
        ]
        texts = {text.name for text in self._texts}
        names = [each.name for each in session.get_inputs() if each.name not in texts]
        self._name: str | None = names[0] if names else None
        self._codes = [
            (int(position), {value: float(code) for code, value in enumerate(values)})
            for position, values in json.loads(facts.get(VOCABULARIES, "{}")).items()
        ]
        for _, codes in self._codes:
            codes[None] = np.nan
        # Of columns that have no place in the matrix, it holds zeros.
        self._zeros = [text.feature for text in self._texts]
        self._zeros += json.loads(facts.get(UNREAD, "[]"))
        described = {position for position, _ in self._codes} | {*self._zeros}
        for position, feature in enumerate(features):
            if not feature.is_numeric and position not in described:
                raise ValueError(f"a matrix without codes for feature {feature.name!r}")
        self.terms = sum(text.one_row.shape[1] for text in self._texts)
        """Terms of all text columns."""
        self.one_row: dict[str, Any] = {self._name: self._row} if self._name else {}
        """The inputs of one row; their memory is reused."""
        self.one_row |= {text.name: text.one_row for text in self._texts}
        self.fill = self._fill_numbers
        self.feed = self._feed_numbers
        if described:
            self.fill, self.feed = self._fill_typed, self._feed_typed

    def _fill_numbers(self, rows: Rows) -> None:
        """Copy one row into `one_row`."""
        self._row[:] = rows

    def _feed_numbers(self, rows: Rows) -> dict[str, Any]:
        """The inputs of some rows."""
        return dict.fromkeys(self.one_row, rows.astype(self._dtype))

    def _fill_typed(self, rows: Rows) -> None:
        row = rows[0].tolist()
        for text in self._texts:
            text.fill(row[text.feature])
        if self._name:
            for position, codes in self._codes:
                row[position] = codes.get(row[position], UNSEEN)
            for position in self._zeros:
                row[position] = 0
            self._row[0] = row

    def _feed_typed(self, rows: Rows) -> dict[str, Any]:
        feed = {text.name: text.feed(rows) for text in self._texts}
        if self._name:
            coded = rows.copy()
            for position, codes in self._codes:
                column = rows[:, position].tolist()
                coded[:, position] = [codes.get(value, UNSEEN) for value in column]
            for position in self._zeros:
                coded[:, position] = 0
            feed[self._name] = coded.astype(self._dtype)
        return feed


class _Counts:
    """The counts of the terms of a text column."""

    def __init__(self, number: int, *, feature: int, counter: Any) -> None:
        known = TermCounter.model_validate(counter)
        self.name = counts_name(number)
        self.feature = feature
        self.one_row = np.zeros((1, len(known.terms)))
        self._positions = known.positions()

    def fill(self, text: str) -> None:
        """Count into `one_row`."""
        self.one_row[:] = 0
        self._count(text, self.one_row[0])

    def feed(self, rows: Rows) -> Any:
        """Counts of some rows."""
        counts = np.zeros((len(rows), self.one_row.shape[1]))
        for text, row in zip(rows[:, self.feature].tolist(), counts, strict=True):
            self._count(text, row)
        return counts

    def _count(self, text: str, row: Any) -> None:
        for position in self._positions(text):
            row[position] += 1
