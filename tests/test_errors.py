"""Errors of pydantic become one line; those of this project name an exit code."""

import pickle
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serve_app.errors import QUOTED, CheckFailedError, UserError, excerpt, first_error


class Inner(BaseModel):
    """A part of `Document`."""

    count: int = Field(ge=1)


class Document(BaseModel):
    """What is validated."""

    model_config = ConfigDict(extra="forbid")

    name: str
    parts: list[Inner] = []

    @model_validator(mode="after")
    def _name_is_free(self) -> "Document":
        if self.name == "taken":
            raise ValueError("another document has this name")
        return self


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"name": 5}, "name=5: Input should be a valid string"),
        ({}, "name: Field required"),
        ({"name": "a", "colour": "red"}, "colour='red': Extra inputs are not permitted"),
        (
            {"name": "a", "parts": [{"count": 2}, {"count": 0}]},
            "parts.1.count=0: Input should be greater than or equal to 1",
        ),
        ({"name": "a", "parts": {"x": 1}}, "parts: Input should be a valid list"),
        ({"name": "a", "parts": [{}]}, "parts.0.count: Field required"),
        ({"name": "taken"}, "Value error, another document has this name"),
        ({"name": {"first": "\n"}}, "name: Input should be a valid string"),
        ({"name": 1, "parts": 2}, "name=1: Input should be a valid string"),
    ],
)
def test_the_first_error_is_one_line(content: Any, line: str) -> None:
    """Place, value and reason; values that are whole documents are left out."""
    with pytest.raises(ValidationError) as error:
        Document.model_validate(content)
    assert first_error(error.value) == line


def test_a_long_value_is_cut() -> None:
    """Messages stay short, and on one line."""
    with pytest.raises(ValidationError) as error:
        Inner.model_validate({"count": "x y\n" * 1000})
    line = first_error(error.value)
    assert line.startswith("count='x y")
    assert len(line) < QUOTED + 100
    assert excerpt("a\n b\t" + "c" * 1000).startswith("a b ccc")


def test_exit_codes() -> None:
    """What cannot be done is 2; what was done and is not good enough is 1; Ray may pickle both."""
    assert (UserError("x").exit_code, CheckFailedError("x").exit_code) == (2, 1)
    assert str(pickle.loads(pickle.dumps(CheckFailedError("p99 is 3 ms")))) == "p99 is 3 ms"
