"""Values as JSON has them: what each kind of column takes."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
)
from pydantic_core import PydanticCustomError

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


FINER_FRACTION = re.compile(r"[.,]\d{6}\d*[1-9]")
"""A fraction of a second beyond microseconds. Python would cut it off, and pandas would not."""


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


def value_type(kind: Kind, known: tuple[Value, ...] = (), *, unseen_allowed: bool = True) -> Any:
    """Type of the values of a column.

    Args:
        kind: what the column holds.
        known: known values of a category.
        unseen_allowed: whether a category takes others too.
    """
    return _category_type(known, unseen_allowed) if kind == "category" else _TYPES[kind]


_NUMBER = Annotated[
    float, Field(strict=True, allow_inf_nan=False, ge=-LARGEST_VALUE, le=LARGEST_VALUE)
]


def _string_type(longest: int) -> Any:
    # Array libraries cut NUL off.
    return Annotated[str, Field(strict=True, max_length=longest, pattern=r"^[^\x00]*$")]


def _category_type(values: tuple[Value, ...], unseen_allowed: bool) -> Any:  # noqa: FBT001
    kinds = {_json_type(value) for value in values}
    if kinds == {"string"} and not unseen_allowed:
        return Literal[values]
    types = {
        "string": _string_type(LONGEST_CATEGORY),
        "number": _NUMBER,
        "boolean": StrictBool,
    }
    if len(kinds) == 1:
        accepted = types[kinds.pop()]
        if all(type(value) is int for value in values):
            accepted = Annotated[accepted, AfterValidator(_code)]
    else:
        # One error for a value, not one for each type that it could have.
        schemas: Any = [TypeAdapter(types[kind]).json_schema() for kind in sorted(kinds)]
        accepted = Annotated[
            Any, AfterValidator(_of_types(kinds)), Field(json_schema_extra={"anyOf": schemas})
        ]
    if unseen_allowed:
        return accepted
    return Annotated[
        accepted, AfterValidator(_one_of(values)), Field(json_schema_extra={"enum": list(values)})
    ]


def _json_type(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _code(number: float) -> float | int:
    """As training data has it: to some estimators 5.0 is no code."""
    return int(number) if number.is_integer() and abs(number) <= LARGEST_INTEGER else number


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
        if FINER_FRACTION.search(value):
            raise ValueError("a fraction of a second has at most 6 digits; round it")  # noqa: TRY301
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


def whole(number: float | None) -> Any:
    """A whole number as an integer."""
    return int(number) if number is not None and number.is_integer() else number
