"""What a user says of columns is read as it is meant, or refused."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.model.features import Feature
from serve_app.packaging.corrections import corrections_of, parse_feature, read_schema
from serve_app.packaging.tables import PackagingError


def test_features_are_corrections_of_what_was_set() -> None:
    """What a caller did not say of a column is still inferred."""
    feature = Feature(name="a", minimum=0, maximum=1, unit="cm")
    assert corrections_of([feature]) == {"a": {"minimum": 0, "maximum": 1, "unit": "cm"}}
    with pytest.raises(PackagingError, match="repeated: a"):
        corrections_of([feature, feature])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nullable": "false"}, "column 'a': nullable='false' is neither true nor false"),
        ({"unseen_allowed": 0}, "column 'a': unseen_allowed=0 is neither true nor false"),
        ({"name": "b"}, "column 'a' cannot be renamed to 'b'"),
    ],
)
def test_a_correction_is_not_guessed(fields: dict[str, Any], message: str) -> None:
    """A text that says false would count as true, and so allow what the user forbids."""
    with pytest.raises(PackagingError, match=message):
        corrections_of({"a": fields})


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("a=0..1", Feature(name="a", minimum=0, maximum=1)),
        ("a b=-1.5..2e3:cm", Feature(name="a b", minimum=-1.5, maximum=2000, unit="cm")),
        ("t=0..1:km/h", Feature(name="t", minimum=0, maximum=1, unit="km/h")),
    ],
)
def test_a_feature_is_written_as_name_range_and_unit(text: str, feature: Feature) -> None:
    """The form that --help shows gives name, range and unit."""
    assert parse_feature(text) == feature


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "'a' is not NAME=MIN..MAX"),
        ("a=1", "'a=1' is not NAME=MIN..MAX"),
        ("a=x..y", "is not NAME=MIN..MAX"),
        ("=0..1", "name='': String should have at least 1 character"),
        ("a=2..1", "minimum 2.0 is above maximum 1.0"),
        ("a=0..inf", "maximum=inf: Input should be a finite number"),
        ("a=0..1e31", "maximum=1e\\+31: Input should be less than or equal to 10{30}"),
    ],
)
def test_a_malformed_feature_is_refused(text: str, message: str) -> None:
    """A mistyped feature is shown with the form it should have, or with what is wrong in it."""
    with pytest.raises(PackagingError, match=message):
        parse_feature(text)


@pytest.mark.parametrize(
    "content",
    [
        "a: {unit: cm, nullable: true}",
        '{"a": {"unit": "cm", "nullable": true}}',
        "features:\n  a:\n    unit: cm\n    nullable: true\n",
    ],
)
def test_a_schema_is_yaml_or_json(tmp_path: Path, content: str) -> None:
    """It maps names of columns to what is to be changed."""
    path = tmp_path / "schema.yaml"
    path.write_text(content)
    assert read_schema(path) == {"a": {"unit": "cm", "nullable": True}}


@pytest.mark.parametrize("content", ["a: cm", "- a", "a: [", b"\xff"])
def test_a_malformed_schema_is_refused(tmp_path: Path, content: str | bytes) -> None:
    """The refusal names the file and shows the form, in one line."""
    path = tmp_path / "schema.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(PackagingError, match=r"schema.yaml: .*(a schema maps|cannot read)") as info:
        read_schema(path)
    assert "\n" not in str(info.value)
