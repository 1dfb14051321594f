"""What a card may say of a column."""

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.model.features import Feature
from serve_app.model.instances import instance_adapter
from serve_app.model.values import parse_datetime
from tests.support.tables import categories


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"kind": "number"}, "a number needs minimum and maximum"),
        ({"kind": "integer", "minimum": 0}, "an? integer needs minimum and maximum"),
        ({"kind": "integer", "minimum": 0.5, "maximum": 1}, "0.5: Input should be a valid integer"),
        (
            {"kind": "integer", "minimum": 0, "maximum": 1e20},
            "less than or equal to 9007199254740992",
        ),
        ({"kind": "category"}, "needs at least one known value"),
        ({"kind": "category", "categories": categories("a", "a")}, "a value is listed twice"),
        ({"kind": "category", "categories": categories(1, True)}, "a value is listed twice"),
        ({"kind": "category", "categories": categories("a\0")}, "should match pattern"),
        ({"kind": "category", "categories": categories("a" * 2000)}, "at most 1000 characters"),
        ({"kind": "category", "categories": categories(1e31)}, "less than or equal to 10{30}"),
        ({"kind": "datetime", "earliest": "2024-01-01"}, "both earliest and latest"),
        ({"kind": "datetime", "earliest": "2024", "latest": "2025-01-01"}, "'2024': .*ISO 8601"),
        ({"kind": "colour"}, "kind"),
    ],
)
def test_facts_that_no_request_could_send_are_refused(facts: dict[str, Any], message: str) -> None:
    """Ranges and known values are valid values of the column's kind."""
    with pytest.raises(ValidationError, match=message):
        Feature(name="x", **facts)


@pytest.mark.parametrize(
    ("kind", "values", "is_numeric"),
    [
        ("number", (), True),
        ("integer", (), True),
        ("boolean", (), True),
        ("category", (1, 2.5), True),
        ("category", (True, False), True),
        ("category", ("a", 1), False),
        ("text", (), False),
        ("datetime", (), False),
    ],
)
def test_columns_of_numbers_fit_a_float_array(
    kind: Any, values: tuple[Any, ...], is_numeric: bool
) -> None:
    """Categories too, if all of their values are numbers or booleans."""
    feature = Feature(name="x", kind=kind, minimum=0, maximum=1, categories=categories(*values))
    assert feature.is_numeric is is_numeric


@pytest.mark.parametrize(
    ("values", "unseen_allowed", "accepted", "refused"),
    [
        (("a", 1), True, ["a", "z", 1, 1.0, 7.5], [True, None, [], float("nan"), 1e31, "a\0"]),
        (("a", 1), False, ["a", 1, 1.0], ["z", 2, True]),
        ((True, False), True, [True, False], [1, "true"]),
        ((True,), False, [True], [False, 1]),
        ((1, 2), True, [1, 2.0, 3.5], [True, "1"]),
    ],
)
def test_categories_take_the_json_types_of_their_values(
    values: tuple[Any, ...], unseen_allowed: bool, accepted: list[Any], refused: list[Any]
) -> None:
    """Of several types too; a refusal is one error, not one for each type."""
    feature = Feature(
        name="x", kind="category", categories=categories(*values), unseen_allowed=unseen_allowed
    )
    adapter = instance_adapter([feature])
    for value in accepted:
        assert adapter.validate_python({"x": value}) == {"x": value}
    for value in refused:
        with pytest.raises(ValidationError) as error:
            adapter.validate_python({"x": value})
        assert error.value.error_count() == 1


def test_codes_are_integers_where_the_known_ones_are() -> None:
    """JSON has one type of number; to some estimators 5.0 is no code."""
    for values, expected in (((1, 2), int), ((1, 2.5), float)):
        known = categories(*values)
        adapter = instance_adapter([Feature(name="x", kind="category", categories=known)])
        for given in (2, 2.0, 7):
            assert type(adapter.validate_python({"x": given})["x"]) is expected
        assert adapter.validate_python({"x": 3.5})["x"] == 3.5
        assert adapter.validate_python({"x": 1e30})["x"] == 1e30


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("2024-02-29T12:30:00Z", "2024-02-29T12:30:00"),
        ("2024-02-29T00:30:00.5+01:00", "2024-02-28T23:30:00.500000"),
        ("20240229T1230", "2024-02-29T12:30:00"),
    ],
)
def test_moments_have_one_form(text: str, moment: str) -> None:
    """UTC where there is a time zone, so that the order of strings is that of time."""
    assert parse_datetime(text) == moment
