"""Errors in a request body, in the form that FastAPI uses."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError
from typing_extensions import TypedDict  # before Python 3.12, pydantic does not accept typing's

from serve_app.errors import excerpt

MAX_REPORTED_ERRORS = 20
MAX_ECHOED_INPUT = 100
MAX_ERRORS_IN_TEXT = 3
BATCH_FORM, BATCH_PATH = '{"instances": [...]}', "/predict/batch/"
MAX_MESSAGE = 1_000
"""Characters of a message: it may list the known values of a category."""


class FieldError(TypedDict):
    """One entry of ``detail``."""

    type: Annotated[str, Field(description="Kind of problem")]
    loc: Annotated[
        list[str | int],
        Field(description="Where: body, then field, or instances, row and field"),
    ]
    msg: Annotated[str, Field(description="The problem in words")]
    input: Annotated[Any, Field(description="The offending value, shortened")]


class InvalidBody(TypedDict):
    """Body of an answer to a request body that does not fit."""

    detail: list[FieldError]


class Refusal(TypedDict):
    """Body of every other error."""

    detail: str


class InvalidBodyError(Exception):
    """A body that is not a valid request: status 400 if it is not JSON, 422 if it does not fit."""

    def __init__(self, status: int, errors: list[FieldError]) -> None:
        super().__init__(errors[0]["msg"])
        self.status = status
        self.errors = errors

    @property
    def text(self) -> str:
        """What is wrong in one line: of each of the first errors the field, problem and value."""
        shown = [
            f"{'.'.join(map(str, error['loc'][1:])) or 'body'}: {error['msg']}; "
            f"got {error['input']!r}"
            for error in self.errors[:MAX_ERRORS_IN_TEXT]
        ]
        more = len(self.errors) - len(shown)
        return "; ".join([*shown, *([f"and {more} more"] if more else ())])


def not_json(body: bytes, error: ValueError) -> InvalidBodyError:
    """A body that no JSON parser understands."""
    message = f"Invalid JSON: {error}"
    return InvalidBodyError(
        400, [FieldError(type="json_invalid", loc=["body"], msg=message, input=echo(body))]
    )


def does_not_fit(error: ValidationError, columns: str, *, batch: bool) -> InvalidBodyError:
    """The errors that pydantic finds in a body of rows.

    Args:
        error: what it found.
        columns: names of the model's columns, for people.
        batch: the body should be a batch.
    """
    return _invalid(error, lambda entry: _message(entry, columns, batch=batch))


def not_a_message(error: ValidationError) -> InvalidBodyError:
    """The errors that pydantic finds in the message of another protocol."""
    return _invalid(error, lambda entry: str(entry["msg"]))


def _invalid(
    error: ValidationError, message: Callable[[Mapping[str, Any]], str]
) -> InvalidBodyError:
    """At most `MAX_REPORTED_ERRORS` errors."""
    found = error.errors(include_url=False, include_context=False)
    errors = [
        FieldError(
            type=entry["type"],
            loc=["body", *(_cut(part) if isinstance(part, str) else part for part in entry["loc"])],
            msg=_cut(message(entry), MAX_MESSAGE),
            input=echo(entry["input"]),
        )
        for entry in found[:MAX_REPORTED_ERRORS]
    ]
    if len(found) > MAX_REPORTED_ERRORS:
        errors.append(
            FieldError(
                type="more_errors",
                loc=["body"],
                msg=f"{len(found) - MAX_REPORTED_ERRORS} more errors are not listed",
                input=None,
            )
        )
    return InvalidBodyError(422, errors)


def _message(entry: Mapping[str, Any], columns: str, *, batch: bool) -> str:
    """What pydantic says, and what to send instead where it cannot know."""
    said: str = entry["msg"]
    kind, is_body, is_key_of_body = entry["type"], not entry["loc"], len(entry["loc"]) == 1
    if kind == "dict_type" and is_body:
        rows = f"rows go into {BATCH_FORM}"
        return f"Input should be an object: {rows if batch else f'several {rows} to {BATCH_PATH}'}"
    if kind == "extra_forbidden":
        if batch and is_key_of_body:
            return f"{said}: rows go into {BATCH_FORM}"
        return f"{said}; the columns are {columns}"
    return said


def repeated_keys(keys: Iterable[str]) -> InvalidBodyError:
    """A body in which an object has the same key more than once."""
    return InvalidBodyError(
        422,
        [
            FieldError(
                type="repeated_key",
                loc=["body", _cut(key)],
                msg="Field given more than once; keep one of them",
                input=_cut(key),
            )
            for key in dict.fromkeys(keys)
        ][:MAX_REPORTED_ERRORS],
    )


def model_refuses(error: BaseException | None) -> InvalidBodyError:
    """Values that fit the schema and that the estimator does not take."""
    said = excerpt(str(error)) if isinstance(error, ValueError) else type(error).__name__
    return InvalidBodyError(
        422,
        [
            FieldError(
                type="model_refuses",
                loc=["body"],
                msg=f"The model refuses these values: {said}",
                input=None,
            )
        ],
    )


def no_finite_answer(values: list[Any], *, row: int | None) -> InvalidBodyError:
    """Values for which the model overflows; ``row`` is their place in a batch."""
    return InvalidBodyError(
        422,
        [
            FieldError(
                type="no_finite_answer",
                loc=["body"] if row is None else ["body", "instances", row],
                msg="The model has no finite answer to these values; use values nearer to the "
                "training ranges",
                input=_cut(str(values)),
            )
        ],
    )


def echo(value: Any) -> Any:
    """The offending value as JSON, shortened to a length that is safe to send back."""
    if isinstance(value, bool | None):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    # JSON writers refuse longer integers.
    if isinstance(value, int) and value.bit_length() < 64:  # noqa: PLR2004
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    # A container may hold the whole body, and each error would repeat it.
    if isinstance(value, Mapping):
        return f"an object of {len(value)} fields"
    if isinstance(value, list):
        return f"an array of {len(value)} values"
    return _cut(str(value))


def _cut(text: str, longest: int = MAX_ECHOED_INPUT) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]}... ({len(text)} characters)"
