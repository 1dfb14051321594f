"""Input columns: their kinds, and what is known of their values."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from serve_app.model.frozen import Frozen

Kind = Literal["number", "integer", "boolean", "category", "text", "datetime"]
"""What a column holds.

    number     finite JSON numbers
    integer    JSON integers
    boolean    true and false
    category   one of some known values: strings, integers or numbers
    text       any string
    datetime   ISO 8601 strings; without a time zone they are taken as they are, like training data
"""

Value = StrictBool | StrictInt | StrictFloat | StrictStr
"""A value as JSON has it."""

LARGEST_VALUE = 1e30
"""Largest magnitude of an input value: its products with weights and scales stay finite in single
precision (3.4e38), so no engine meets infinity."""

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
    unit: str | None = None
    description: str | None = None
    nullable: bool = False
    """Whether a request may leave the value out, or send null."""
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
        if len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"feature {self.name!r}: a value is listed twice")
        return self
