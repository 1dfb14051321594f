"""Input columns: their kinds, what is known of them, and which values a request may send."""

from typing import Annotated, Any, Self

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from serve_app.model.frozen import Frozen
from serve_app.model.values import LARGEST_VALUE, Kind, Value, value_type, whole

# Ranges and samples of a card are valid requests.
InputNumber = Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE)]
# Names become JSON keys. Without quotation marks, backslashes and control characters every key of a
# valid request is spelled with exactly two quotation marks (see schemas.RequestSchema).
FeatureName = Annotated[str, Field(min_length=1, max_length=200, pattern=r'^[^"\\\x00-\x1f]+$')]


class Category(Frozen):
    """A value of a category, and how often it occurs in the training data."""

    value: Value
    rows: Annotated[int, Field(ge=0)] = 0
    """Training rows with this value; 0 if unknown."""


class Feature(Frozen):
    """One input column."""

    name: FeatureName
    kind: Kind = "number"
    dtype: str | None = None
    """The column's dtype in training as pandas spells it, such as ``category`` or ``Int64``; an
    estimator that takes a DataFrame gets it back. None is what pandas infers of such values."""
    unit: str | None = None
    description: str | None = None
    nullable: bool = False
    """Whether a request may leave the value out, or send null."""
    gaps_in_training: bool | None = None
    """Whether values were missing in the training data; None if there was none. Where they were
    not, a request without the value is flagged like a value out of range."""
    missing_is_none: bool = False
    """Whether the estimator takes None for a missing value, as in its training data; else NaN."""
    minimum: InputNumber | None = None
    maximum: InputNumber | None = None
    """Range seen in training: numbers and integers."""
    earliest: str | None = None
    latest: str | None = None
    """Range seen in training: datetimes, ISO 8601."""
    categories: tuple[Category, ...] = ()
    """Known values of a category, in the order of the estimator or the data."""
    unseen_allowed: bool = True
    """Whether the estimator answers a category that it has not seen; it is then flagged."""

    @property
    def values(self) -> tuple[Value, ...]:
        """Known values of a category."""
        return tuple(category.value for category in self.categories)

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number or a boolean, so that rows fit a float array."""
        if self.kind == "category":
            return not any(isinstance(value, str) for value in self.values)
        return self.kind in ("number", "integer", "boolean")

    @model_validator(mode="after")
    def _facts_fit_the_kind(self) -> Self:
        has_range = self.minimum is not None and self.maximum is not None
        if self.kind in ("number", "integer") and not has_range:
            raise ValueError(f"feature {self.name!r}: a {self.kind} needs minimum and maximum")
        if has_range and self.minimum > self.maximum:  # type: ignore[operator]
            raise ValueError(
                f"feature {self.name!r}: minimum {self.minimum} is above maximum {self.maximum}; "
                "swap them"
            )
        if self.kind == "category" and not self.categories:
            raise ValueError(f"feature {self.name!r}: a category needs at least one known value")
        # 1, 1.0 and true are the same key of a dictionary, and the same number of a float array.
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"feature {self.name!r}: a value is listed twice")
        self._require_valid_facts()
        return self

    def _require_valid_facts(self) -> None:
        """What a card says of a column, a request can send."""
        facts: tuple[Any, ...] = self.values
        if self.kind == "datetime":
            facts = tuple(each for each in (self.earliest, self.latest) if each is not None)
        elif self.kind == "integer":
            facts = tuple(whole(each) for each in (self.minimum, self.maximum))
        if (self.earliest is None) != (self.latest is None):
            raise ValueError(f"feature {self.name!r}: give both earliest and latest, or neither")
        adapter = (
            TypeAdapter(value_type(self.kind, self.values, unseen_allowed=self.unseen_allowed))
            if facts
            else None
        )
        for fact in facts:
            try:
                adapter.validate_python(fact)  # type: ignore[union-attr]
            except ValidationError as error:
                problem = str(error.errors()[0]["msg"])
                raise ValueError(f"feature {self.name!r}: {fact!r}: {problem}") from error
