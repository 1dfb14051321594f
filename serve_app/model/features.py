"""Input columns: their kinds, what is known of them, and which values a request may send."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # before Python 3.12, pydantic does not accept typing's

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
LARGEST_INTEGER = 2**53
"""Largest magnitude of an integer: up to here double precision has every integer."""
LONGEST_CATEGORY = 1_000
LONGEST_TEXT = 100_000
"""Characters of a string."""
FIRST_YEAR, LAST_YEAR = 1678, 2261
"""Whole years that nanoseconds since 1970 can hold in 64 bits."""
MAX_EXAMPLES = 10

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
            facts = tuple(_whole(each) for each in (self.minimum, self.maximum))
        if (self.earliest is None) != (self.latest is None):
            raise ValueError(f"feature {self.name!r}: give both earliest and latest, or neither")
        adapter = TypeAdapter(_value_type(self)) if facts else None
        for fact in facts:
            try:
                adapter.validate_python(fact)  # type: ignore[union-attr]
            except ValidationError as error:
                problem = str(error.errors()[0]["msg"])
                raise ValueError(f"feature {self.name!r}: {fact!r}: {problem}") from error


def instance_type(
    features: Iterable[Feature], title: str = "Instance", description: str | None = None
) -> Any:
    """Type of a request's row: an object with a field for each feature, in this order.

    Values are checked as strictly as JSON allows. A value that may be missing and is left out
    becomes None.
    """
    return object_type(title, description, {each.name: _field_type(each) for each in features})


def instance_adapter(features: Iterable[Feature]) -> TypeAdapter[dict[str, Any]]:
    """Validates one row."""
    return TypeAdapter(instance_type(features))


def object_type(title: str, description: str | None, fields: dict[str, Any]) -> Any:
    """Type of an object with these fields and no others."""
    # TypedDict, not create_model: column names need not be Python identifiers, and validation
    # yields a plain dict in the order of the fields.
    make: Any = TypedDict
    made = make(title, fields)
    made.__pydantic_config__ = ConfigDict(extra="forbid", title=title)
    made.__doc__ = description
    return made


def parse_datetime(text: str) -> str:
    """ISO 8601 ``text`` in the one form that rows have; with a time zone it becomes UTC.

    Raises:
        ValueError: not ISO 8601, or a year that nanoseconds cannot hold.
    """
    moment = dt.datetime.fromisoformat(text)
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"the year must be from {FIRST_YEAR} to {LAST_YEAR}")
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return moment.isoformat()


def _field_type(feature: Feature) -> Any:
    value, title, description = _value_type(feature), feature.name, _describe(feature)
    examples = _examples(feature)
    if feature.nullable:
        return Annotated[
            value | None,
            Field(default=None, title=title, description=description, examples=examples),
        ]
    return Annotated[value, Field(title=title, description=description, examples=examples)]


def _value_type(feature: Feature) -> Any:
    return _category_type(feature) if feature.kind == "category" else _TYPES[feature.kind]


_NUMBER = Annotated[
    float, Field(strict=True, allow_inf_nan=False, ge=-LARGEST_VALUE, le=LARGEST_VALUE)
]


def _string_type(longest: int) -> Any:
    # Array libraries cut NUL off.
    return Annotated[str, Field(strict=True, max_length=longest, pattern=r"^[^\x00]*$")]


def _category_type(feature: Feature) -> Any:
    values = feature.values
    kinds = {_json_type(value) for value in values}
    if kinds == {"string"} and not feature.unseen_allowed:
        return Literal[values]
    types = {
        "string": _string_type(LONGEST_CATEGORY),
        "number": _NUMBER,
        "boolean": StrictBool,
    }
    if len(kinds) == 1:
        accepted = types[kinds.pop()]
    else:
        # One error for a value, not one for each type that it could have.
        schemas: Any = [TypeAdapter(types[kind]).json_schema() for kind in sorted(kinds)]
        accepted = Annotated[
            Any, AfterValidator(_of_types(kinds)), Field(json_schema_extra={"anyOf": schemas})
        ]
    if feature.unseen_allowed:
        return accepted
    return Annotated[
        accepted, AfterValidator(_one_of(values)), Field(json_schema_extra={"enum": list(values)})
    ]


def _json_type(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _of_types(kinds: set[str]) -> Callable[[Any], Any]:
    names = " or ".join(sorted(kinds))

    def validate(value: Any) -> Any:
        if isinstance(value, str):
            fits = len(value) <= LONGEST_CATEGORY and "\x00" not in value
        else:
            fits = isinstance(value, int | float) and -LARGEST_VALUE <= value <= LARGEST_VALUE
        if not fits or _json_type(value) not in kinds:
            raise PydanticCustomError("value_type", "Input should be a {names}", {"names": names})
        return value

    return validate


def _one_of(values: tuple[Value, ...]) -> Callable[[Any], Any]:
    known = {value: value for value in values}
    expected = _listed(list(map(repr, values)))

    def validate(value: Any) -> Any:
        try:
            return known[value]
        except KeyError:
            raise PydanticCustomError(
                "literal_error", "Input should be {expected}", {"expected": expected}
            ) from None

    return validate


def _listed(texts: list[str]) -> str:
    *most, last = texts
    return f"{', '.join(most)} or {last}" if most else last


def _validate_datetime(value: str) -> str:
    try:
        return parse_datetime(value)
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError(
            "datetime_parsing",
            "Input should be an ISO 8601 date and time: {error}",
            {"error": str(error)},
        ) from None


_TYPES: dict[Kind, Any] = {
    "number": _NUMBER,
    "integer": Annotated[int, Field(strict=True, ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)],
    "boolean": StrictBool,
    "text": _string_type(LONGEST_TEXT),
    "datetime": Annotated[
        str,
        Field(strict=True, max_length=100, json_schema_extra={"format": "date-time"}),
        AfterValidator(_validate_datetime),
    ],
}


def _whole(number: float | None) -> Any:
    return int(number) if number is not None and number.is_integer() else number


def _describe(feature: Feature) -> str:
    flagged = "is answered and flagged in a response header."
    title = feature.description or feature.name
    subject = f"{title}{f' in {feature.unit}' if feature.unit else ''}"
    if feature.minimum is not None:
        parts = [
            f"{subject}; training range {feature.minimum:g} to {feature.maximum:g}.",
            f"A value outside it {flagged}",
        ]
    elif feature.kind == "category" and feature.unseen_allowed:
        parts = [f"{subject}; {len(feature.values)} known values.", f"Another one {flagged}"]
    elif feature.kind == "datetime":
        parts = [f"{subject}; ISO 8601, in UTC if it has a time zone."]
        if feature.earliest is not None:
            parts[0] += f" Training range {feature.earliest} to {feature.latest}."
            parts.append(f"A value outside it {flagged}")
    else:
        parts = [f"{subject}."]
    if feature.kind == "integer":
        parts.append("Written without a decimal point.")
    if feature.nullable:
        parts.append("May be left out or null.")
    return " ".join(parts)


def _examples(feature: Feature) -> list[Any] | None:
    examples: dict[Kind, list[Any] | None] = {
        "number": [feature.minimum],
        "integer": [_whole(feature.minimum)],
        "boolean": [True, False],
        "category": list(feature.values[:MAX_EXAMPLES]),
        "text": None,
        "datetime": [feature.earliest or "2026-01-31T12:00:00"],
    }
    return examples[feature.kind]
