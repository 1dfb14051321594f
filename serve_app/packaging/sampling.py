"""Rows on which two forms of a model are compared, made of what the training data shows.

Real rows, mixtures of real rows, and real rows with one value changed: to a number outside of the
range, a missing value, an unseen category, an odd text, a threshold of a tree.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.model.features import Feature
from serve_app.model.predictor import rows_dtype
from serve_app.packaging.domain import Trial, missing_value, outside_values, unseen_value

RARE = 500
"""Known values of categories that are tried though no real row has them."""
POOL = 1_000
"""Made rows that stand for real ones where there is no training data."""
ODD_TEXTS = (
    *("", " ", "a", "A b", "the quick brown fox", "naïve café", "ÜBER straße", "über STRASSE"),
    *(
        "don't stop",
        "e-mail: a_b@example.com",
        "3.14 and 1,000",
        "tab\tand\nnewline",
        "C++ C# .NET",
    ),
    *("日本語のテキスト", "emoji 🙂 text", "I'm re-reading it; twice!", "x" * 300, "İstanbul ŉ ﬁ"),
)
"""Texts on which tokenisers differ."""
WORDS = ("good", "bad", "fast", "slow", "the", "a", "of", "cheap", "price", "never", "10", "2026")


class Sampler:
    """Draws rows of given features."""

    def __init__(self, features: Sequence[Feature], rows: Any | None) -> None:
        """Take the columns, and real rows, shape [rows, features], if there are any."""
        self.features = features
        self._random = np.random.default_rng(0)
        self._blended = [
            position for position, each in enumerate(features) if each.kind in ("number", "integer")
        ]
        self._texts = [at for at, each in enumerate(features) if each.kind == "text"]
        self._whole = [at for at, each in enumerate(features) if each.kind == "integer"]
        self._dtype = np.dtype(rows_dtype(features))
        self.pool = self._made(POOL) if rows is None else rows

    def mixed(self, count: int) -> Any:
        """Rows whose columns come from different real rows."""
        chosen = self._random.integers(len(self.pool), size=(count, len(self.features)))
        return np.take_along_axis(self.pool, chosen, axis=0)

    def blended(self, count: int) -> Any:
        """Real rows with numbers on the way to those of another real row, and words of both."""
        one, other = (self.pool[self._random.integers(len(self.pool), size=count)] for _ in "ab")
        rows = one.copy()
        if self._blended:
            share = self._random.uniform(size=(count, 1))
            rows[:, self._blended] = self.between(one, other, share)
        for position in self._texts:
            rows[:, position] = [
                self._text_of(left, right)
                for left, right in zip(one[:, position], other[:, position], strict=True)
            ]
        return rows

    def _text_of(self, one: Any, other: Any) -> Any:
        """Some words of two texts."""
        if one is None or other is None:
            return one
        words = [*one.split(" "), *other.split(" ")]
        chosen = self._random.random(len(words)) < 0.5  # noqa: PLR2004
        return " ".join(word for word, taken in zip(words, chosen, strict=True) if taken)

    def between(self, one: Any, other: Any, share: Any) -> Any:
        """The numbers of rows on the way from ``one`` to ``other``; those that are missing stay."""
        left, right = (rows[:, self._blended].astype(np.float64) for rows in (one, other))
        numbers = left + share * (right - left)
        # A missing value stays missing: there is nothing between it and a number.
        numbers = np.where(np.isnan(numbers), left, numbers)
        cells = np.empty(numbers.shape, dtype=one.dtype)
        for at, position in enumerate(self._blended):
            cells[:, at] = self._cells(position, numbers[:, at])
        return cells

    def with_numbers(self, rows: Any, numbers: Any) -> Any:
        """``rows`` with other numbers, as `between` returns them."""
        changed = rows.copy()
        changed[:, self._blended] = numbers
        return changed

    @property
    def can_blend(self) -> bool:
        """Whether there is a column whose values can lie between two others."""
        return len(self._blended) > len(self._whole)

    def changed(self, trials: Sequence[Trial], each: int) -> Any:
        """For each trial, ``each`` mixed rows with its value in its column."""
        rows = self.mixed(each * len(trials))
        for place, trial in enumerate(trials):
            rows[place * each : (place + 1) * each, trial.column] = trial.value
        return rows

    def at_thresholds(self, thresholds: Mapping[int, NDArray[np.float64]]) -> Any:
        """Real rows with one number at a threshold, and one unit in the last place beside it.

        Units are those of double and of single precision; integers are the ones around it.
        """
        trials = [
            Trial(column, value)
            for column, values in thresholds.items()
            for threshold in values.tolist()
            for value in self._beside(column, threshold)
        ]
        rows = self.pool[self._random.integers(len(self.pool), size=len(trials))].copy()
        for row, trial in zip(rows, trials, strict=True):
            row[trial.column] = trial.value
        return rows

    def seen_numbers(self, count: int) -> dict[int, NDArray[np.float64]]:
        """About ``count`` numbers of real rows, by column: the smallest, the largest, and others.

        Zero is among those of a column that has numbers on both sides of it, or it itself.
        """
        each = max(3, count // max(1, len(self._blended)))
        found = {}
        for position in self._blended:
            numbers = self.pool[:, position].astype(np.float64)
            numbers = np.unique(numbers[np.isfinite(numbers)])
            if len(numbers):
                evenly = np.linspace(0, len(numbers) - 1, min(each, len(numbers)), dtype=int)
                zero = [0.0] if numbers[0] <= 0 <= numbers[-1] else []
                found[position] = np.unique([*numbers[evenly].tolist(), *zero])
        return found

    def _beside(self, column: int, threshold: float) -> list[Any]:
        if column in self._whole:
            values = {np.floor(threshold), np.ceil(threshold), np.floor(threshold) + 1}
            return list(self._cells(column, np.array(sorted(values))))
        single = np.float32(threshold)
        ends = (-np.inf, np.inf)
        values = {
            threshold,
            float(single),
            *(float(np.nextafter(threshold, end)) for end in ends),
            *(float(np.nextafter(single, np.float32(end))) for end in ends),
        }
        return sorted(value for value in values if np.isfinite(value))

    def missing(self) -> list[Trial]:
        """A missing value in each column."""
        value = missing_value(self.pool)
        return [Trial(position, value) for position in range(len(self.features))]

    def unseen(self) -> list[Trial]:
        """An unseen value of each category."""
        values = enumerate(map(unseen_value, self.features))
        return [
            Trial(position, value)
            for position, value in values
            if value is not None and self.features[position].kind == "category"
        ]

    def outside(self) -> list[Trial]:
        """Numbers on both sides of each range."""
        return [
            Trial(position, value)
            for position in self._blended
            for value in self._cells(position, np.array(outside_values(self.features[position])))
        ]

    def odd(self) -> list[Trial]:
        """Odd texts in each column of texts."""
        return [
            Trial(position, text)
            for position, feature in enumerate(self.features)
            if feature.kind == "text"
            for text in ODD_TEXTS
        ]

    def rare(self) -> list[Trial]:
        """Known values of categories that no real row has."""
        rare = []
        for position, feature in enumerate(self.features):
            if feature.kind == "category":
                seen = set(self.pool[:, position].tolist())
                rare += [Trial(position, value) for value in feature.values if value not in seen]
        return rare[:RARE]

    def _cells(self, column: int, numbers: Any) -> Any:
        """Numbers as rows have them in this column: integers as such, and None for NaN."""
        numbers = np.round(numbers) if column in self._whole else numbers
        if self._dtype == np.float64:
            return numbers
        cells = np.full(len(numbers), None, dtype=object)
        for at in np.flatnonzero(~np.isnan(numbers)):
            cells[at] = int(numbers[at]) if column in self._whole else float(numbers[at])
        return cells

    def _made(self, count: int) -> Any:
        rows = np.empty((count, len(self.features)), dtype=self._dtype)
        for position, feature in enumerate(self.features):
            values = self._values(feature, count)
            is_number = values.dtype == np.float64
            rows[:, position] = self._cells(position, values) if is_number else values
        return rows

    def _values(self, feature: Feature, count: int) -> Any:
        low, high = feature.minimum or 0.0, feature.maximum or 0.0
        if feature.kind == "number":
            return self._random.uniform(low, high, size=count)
        if feature.kind == "integer":
            whole = self._random.integers(int(low), int(high), size=count, endpoint=True)
            return whole.astype(np.float64)
        if feature.kind == "boolean":
            return (self._random.integers(2, size=count) > 0).astype(object)
        if feature.kind == "category":
            values = np.array([*feature.values, None], dtype=object)[:-1]
            return values[self._random.integers(len(values), size=count)]
        if feature.kind == "text":
            texts = [" ".join(self._random.choice(WORDS, size=8)) for _ in range(count)]
            return np.array(texts, dtype=object)
        ends = [feature.earliest or "2020-01-01", feature.latest or "2026-12-31"]
        first, last = (np.datetime64(end, "s").astype(np.int64) for end in ends)
        moments = self._random.integers(first, last + 1, size=count).astype("datetime64[s]")
        return np.array([str(moment) for moment in moments], dtype=object)
