"""Columns are inferred from data types and steps, and corrected by a user."""

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serve_app.model.features import Category, Feature
from serve_app.packaging.features import declared_features, infer_features
from serve_app.packaging.steps import Facts
from serve_app.packaging.tables import PackagingError

DAY = dt.datetime(2026, 1, 31, 12)  # noqa: DTZ001 - training data has none


def infer(column: Any, facts: Facts | None = None, **correction: Any) -> Feature:
    """The feature of one column named a."""
    frame = pd.DataFrame({"a": column})
    corrections = {"a": correction} if correction else {}
    (feature,) = infer_features(frame, {"a": facts or Facts()}, corrections)
    return feature


@pytest.mark.parametrize(
    ("column", "kind", "known"),
    [
        ([0.5, np.nan], "number", (0.5, 0.5)),
        ([3, 1], "integer", (1, 3)),
        (pd.array([3, None], dtype="Int64"), "integer", (3, 3)),
        (pd.array([0.5, None], dtype="Float64"), "number", (0.5, 0.5)),
        ([Decimal("1.5"), Decimal(2)], "number", (1.5, 2)),
        ([True, False], "boolean", None),
        (pd.array([True, None], dtype="boolean"), "boolean", None),
        (np.array([True, None], dtype=object), "boolean", None),
        (["x", "y", "x"], "category", ("x", "y")),
        (pd.array(["y", None], dtype="string"), "category", ("y",)),
        (pd.Categorical(["b", "a"], categories=["b", "a", "c"]), "category", ("b", "a", "c")),
        (pd.Categorical([10, 20, 10]), "category", (10, 20)),
        ([f"text {number}" for number in range(500)], "text", None),
        ([DAY, None], "datetime", ("2026-01-31T12:00:00",) * 2),
        ([dt.date(2026, 1, 31)], "datetime", ("2026-01-31T00:00:00",) * 2),
        ([None, np.nan], "number", (0, 0)),
    ],
)
def test_the_data_type_gives_the_kind(column: Any, kind: str, known: Any) -> None:
    """With the range or the known values, whatever library's nullable types they come in."""
    feature = infer(column)
    assert feature.kind == kind
    ranges = {
        "category": feature.values,
        "datetime": (feature.earliest, feature.latest),
    }
    found = ranges.get(kind, (feature.minimum, feature.maximum))
    assert found == (known or (None, None))
    assert feature.nullable == bool(pd.isna(pd.Series(column)).any())


@pytest.mark.parametrize(
    ("column", "facts", "kind", "values"),
    [
        (
            [2.0, 1.0, 2.0],
            Facts(is_category=True, categories=(1.0, 2.0, 3.0)),
            "category",
            (1, 2, 3),
        ),
        ([2, 1], Facts(is_category=True), "category", (1, 2)),
        (["x"], Facts(is_category=True, categories=("y", "x", np.nan)), "category", ("y", "x")),
        (["x", "y"], Facts(is_text=True), "text", ()),
        ([True, False], Facts(is_category=True, categories=(False, True)), "boolean", ()),
    ],
)
def test_the_estimators_steps_give_the_kind(
    column: Any, facts: Facts, kind: str, values: tuple[Any, ...]
) -> None:
    """Encoders know categories, also of numbers, in their order; vectorisers read texts."""
    feature = infer(column, facts)
    assert (feature.kind, feature.values) == (kind, values)


def test_categories_have_their_frequencies() -> None:
    """How often each value occurs in the training data."""
    assert infer(["x", "y", "x"]).categories == (
        Category(value="x", rows=2),
        Category(value="y", rows=1),
    )


def test_a_user_corrects_what_was_inferred() -> None:
    """Only what is said changes; categories may be given as values, and are still counted."""
    feature = infer([1, 2, 2], unit="floors", description="of the house", maximum=9)
    assert (feature.kind, feature.minimum, feature.maximum) == ("integer", 1, 9)
    assert (feature.unit, feature.description) == ("floors", "of the house")
    feature = infer([1, 2, 2], kind="category", categories=[2, 3])
    assert feature.categories == (Category(value=2, rows=2), Category(value=3))
    assert infer(["x", "y"], kind="text").kind == "text"


@pytest.mark.parametrize(
    ("column", "correction", "message"),
    [
        ([1.0], {"kind": "float"}, "column 'a': kind 'float' is none of number, integer"),
        ([1.0], {"colour": "red"}, "column 'a': colour='red': Extra inputs are not permitted"),
        ([1.0], {"minimum": 2}, "minimum 2.0 is above maximum 1.0"),
        (
            [0.5],
            {"categories": ["x"]},
            r"'a': categories=\['x'\] is for category, and the kind of this column is number",
        ),
        (["x"], {"maximum": 0}, "'a': maximum=0 is for number or integer, .* column is category"),
        ([0.5], {"latest": "2024-01-01"}, "'a': latest=2024-01-01 is for datetime, and the kind"),
        ([0.5], {"dtype": "banana"}, "column 'a': dtype='banana' is none of pandas: .*; give one"),
        ([0.5], {"dtype": 5}, "column 'a': dtype=5 is none of pandas"),
        (["x"], {"kind": "number"}, "column 'a' must be numeric: could not convert"),
        ([np.inf], {}, "column 'a' has 1 infinite values"),
        ([1e31], {}, "less than or equal to 10{30}"),
        ([2**60], {}, "integers beyond 9007199254740992"),
        ([b"x"], {}, "column 'a' holds values of a kind that JSON has not"),
        ([pd.Timedelta("1h")], {}, "column 'a' holds values of a kind that JSON has not"),
        ([["x"]], {}, "column 'a' holds values of a kind that JSON has not"),
        (["x", 1], {}, "column 'a' holds values of a kind that JSON has not"),
    ],
)
def test_a_column_that_no_request_can_send_is_refused(
    column: Any, correction: dict[str, Any], message: str
) -> None:
    """The refusal names the column, and so does that of a correction which does not fit."""
    with pytest.raises(PackagingError, match=message):
        infer(column, **correction)


def test_a_correction_of_no_column_is_refused() -> None:
    """The refusal names the column, and those that there are."""
    with pytest.raises(PackagingError, match="there is no column 'b'; the columns are a"):
        infer_features(pd.DataFrame({"a": [1]}), {"a": Facts()}, {"b": {"unit": "cm"}})


def test_a_name_that_json_keys_cannot_be_is_refused() -> None:
    """Quotation marks in names would make keys ambiguous."""
    with pytest.raises(PackagingError, match="""name='a"b': String should match"""):
        infer_features(pd.DataFrame({'a"b': [1]}), {'a"b': Facts()}, {})


def test_without_data_a_user_and_the_estimator_say_what_columns_hold() -> None:
    """Ranges are a user's; the codes of an encoder are the estimator's."""
    facts = {"a": Facts(), "code": Facts(is_category=True, categories=(1.0, 2.0))}
    number, code = declared_features(facts, {"a": {"minimum": 0.0, "maximum": 1.0}})
    assert (number.kind, number.maximum) == ("number", 1)
    assert (code.kind, code.values) == ("category", (1, 2))
    with pytest.raises(PackagingError, match="'a': a number needs minimum and maximum"):
        declared_features({"a": Facts()}, {})
