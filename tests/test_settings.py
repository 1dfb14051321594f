"""Settings are typed, documented and refuse what they do not know."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.settings import Settings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ({"model_dir": "m"}, Path("m")),
        ({"max_rows": "5"}, 5),
        ({"engine": "sklearn"}, "sklearn"),
        ({"model_version": "0123456789ab"}, "0123456789ab"),
    ],
)
def test_text_from_a_command_line_is_typed(text: dict[str, str], value: object) -> None:
    """``key=value`` arguments arrive as text and become what the field is."""
    ((name, _),) = text.items()
    assert getattr(Settings.model_validate(text), name) == value


@pytest.mark.parametrize(
    "fields",
    [
        {"engine": "tensorflow"},
        {"max_rows": 0},
        {"max_body_bytes": -1},
        {"max_batch_rows": "many"},
        {"max_row": 5},
    ],
)
def test_what_is_unknown_or_impossible_is_refused(fields: dict[str, Any]) -> None:
    """A mistyped name or value is an error that names it, never ignored."""
    (name,) = fields
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate(fields)


@pytest.mark.parametrize(("engine", "override"), [("auto", None), ("onnx", "onnx")])
def test_auto_follows_the_card(engine: str, override: str | None) -> None:
    """Only a named engine overrides the choice that packaging made."""
    assert Settings.model_validate({"engine": engine}).engine_override() == override


def test_every_field_is_documented() -> None:
    """``serve-app serve --help`` shows what each argument does."""
    assert all(field.description for field in Settings.model_fields.values())
