"""JSON messages of V2 over REST, as pydantic validates them."""

import math
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,  # before Python 3.12, pydantic needs them
)

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from serve_app.errors import excerpt
from serve_app.protocols.columns import CONTENT_TYPES
from serve_app.protocols.errors import echo
from serve_app.protocols.tensors import DATATYPES, LARGEST_DIMENSION, MAX_DIMENSIONS

_Flag = Annotated[bool, Field(strict=True)]
_Name = Annotated[str, Field(strict=True)]
_ContentType = Literal[CONTENT_TYPES]  # type: ignore[valid-type]


def _repeatable(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters that JSON writers can repeat as they are. Names the first that is not."""
    # Not a type for each value: pydantic keeps some hundred bytes for each error.
    for name, value in parameters.items():
        if not (
            math.isfinite(value)
            if type(value) is float
            else -(2**63) <= value < 2**64
            if type(value) is int
            else isinstance(value, str | bool | None)
        ):
            raise PydanticCustomError(
                "parameter_type",
                "{name} should be a string, a number of 64 bits, true or false; it is {value}",
                {"name": excerpt(name), "value": echo(value)},
            )
    return parameters


class _InputParameters(TypedDict):
    """How an input is written; others mean nothing here."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    content_type: NotRequired[_ContentType | None]
    binary_data_size: NotRequired[Annotated[int, Field(strict=True, ge=0)] | None]


class _OutputParameters(TypedDict):
    """How an output is to be written; others mean nothing here."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    content_type: NotRequired[_ContentType | None]
    binary_data: NotRequired[_Flag | None]
    classification: NotRequired[Literal[0] | None]


InputParameters = Annotated[_InputParameters, AfterValidator(_repeatable)]
OutputParameters = Annotated[_OutputParameters, AfterValidator(_repeatable)]


class RequestInput(TypedDict):
    """One tensor of a request."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    name: _Name
    shape: Annotated[
        list[Annotated[int, Field(strict=True, ge=0, le=LARGEST_DIMENSION)]],
        Field(max_length=MAX_DIMENSIONS),
    ]
    datatype: Literal[DATATYPES]  # type: ignore[valid-type]
    parameters: NotRequired[InputParameters | None]
    data: NotRequired[Any]


class RequestOutput(TypedDict):
    """One output that a request asks for."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    name: _Name
    parameters: NotRequired[OutputParameters | None]


class InferenceRequest(TypedDict):
    """The JSON of a request."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    id: NotRequired[_Name | None]
    # As KServe's client and Triton's documents have them; the path says which model it is.
    model_name: NotRequired[_Name | None]
    model_version: NotRequired[_Name | None]
    parameters: NotRequired[Annotated[dict[str, Any], AfterValidator(_repeatable)] | None]
    # Of the entries that do not fit only the first is told: pydantic keeps some hundred bytes for
    # each error, and a body has room for hundreds of thousands.
    inputs: Annotated[list[RequestInput], Field(min_length=1, fail_fast=True)]
    outputs: NotRequired[Annotated[list[RequestOutput], Field(fail_fast=True)] | None]


class InputHead(NamedTuple):
    """What a request says of a tensor beside its elements."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content_type: str | None
    binary_size: int | None
    """Bytes of the tensor after the JSON; None if its elements are in it."""
    data: Any
    """Elements in JSON, as they were written; None if there are none."""
