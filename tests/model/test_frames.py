"""Rows become a DataFrame with the dtypes that the estimator was fitted on."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from serve_app.model.features import Feature
from serve_app.model.frames import FrameBuilder
from serve_app.model.predictor import rows_of
from tests.support.tables import INSTANCE, MIXED, Model, categories, mixed_table

NUMBER: dict[str, Any] = {"minimum": 0, "maximum": 9}


def column(feature: Feature, *values: Any, beside_text: bool = False) -> Any:
    """The column of ``feature`` with these values; rows are objects if ``beside_text``."""
    features = [feature, *([Feature(name="t", kind="text")] if beside_text else [])]
    records = [[value, "x"][: len(features)] for value in values]
    return FrameBuilder(features)(rows_of(features, records))[feature.name]


def feature(kind: Any, dtype: str | None = None, **facts: Any) -> Feature:
    return Feature(name="x", kind=kind, dtype=dtype, **facts)


@pytest.mark.parametrize("beside_text", [False, True])
@pytest.mark.parametrize(
    ("column_feature", "values", "expected"),
    [
        (feature("number", **NUMBER), [1, 2.5], pd.Series([1.0, 2.5])),
        (feature("number", nullable=True, **NUMBER), [1, None], pd.Series([1.0, np.nan])),
        (feature("number", "float32", **NUMBER), [1, 2.5], pd.Series([1, 2.5], dtype="float32")),
        (feature("integer", **NUMBER), [1, 2], pd.Series([1, 2])),
        (feature("integer", "int8", **NUMBER), [1, 2], pd.Series([1, 2], dtype="int8")),
        (feature("integer", nullable=True, **NUMBER), [1, None], pd.Series([1.0, np.nan])),
        (
            feature("integer", "int64", nullable=True, **NUMBER),
            [1, None],
            pd.Series([1.0, np.nan]),
        ),
        (
            feature("integer", "Int64", nullable=True, **NUMBER),
            [1, None],
            pd.Series([1, None], dtype="Int64"),
        ),
        (feature("boolean"), [True, False], pd.Series([True, False])),
        (
            feature("boolean", "bool", nullable=True),
            [True, None],
            pd.Series([True, np.nan], dtype=object),
        ),
        (
            feature("boolean", "boolean", nullable=True),
            [True, None],
            pd.Series([True, None], dtype="boolean"),
        ),
        (feature("category", categories=categories(1, 2)), [2, 1.0], pd.Series([2, 1])),
        (feature("category", categories=categories(1, 2)), [2, 1.5], pd.Series([2, 1.5])),
        (feature("category", categories=categories(1, 2.5)), [2.5, 1], pd.Series([2.5, 1])),
        (
            feature("category", "category", categories=categories(3, 1), nullable=True),
            [1, None, 7],
            pd.Series(pd.Categorical([1, None, None], categories=[3, 1])),
        ),
        (
            feature("category", "object", categories=categories(3, 1), nullable=True),
            [1, None],
            pd.Series([1, np.nan], dtype=object),
        ),
    ],
)
def test_numbers_have_the_dtype_of_training(
    column_feature: Feature, values: list[Any], expected: Any, beside_text: bool
) -> None:
    """From float rows and, beside columns of text, from rows of objects."""
    found = column(column_feature, *values, beside_text=beside_text)
    pd.testing.assert_series_equal(found, expected, check_names=False)
    assert list(map(type, found.dropna())) == list(map(type, expected.dropna()))


@pytest.mark.parametrize(
    ("column_feature", "values", "expected"),
    [
        (feature("text"), ["a", "b"], pd.Series(["a", "b"])),
        (feature("text", "object"), ["a", "b"], pd.Series(["a", "b"], dtype=object)),
        (
            feature("text", "object", nullable=True),
            ["a", None],
            pd.Series(["a", np.nan], dtype=object),
        ),
        (
            feature("text", "string", nullable=True),
            ["a", None],
            pd.Series(["a", None], dtype="string"),
        ),
        (
            feature("category", "category", categories=categories("b", "a"), nullable=True),
            ["a", None, "unseen"],
            pd.Series(pd.Categorical(["a", None, None], categories=["b", "a"])),
        ),
        (
            feature("datetime", nullable=True),
            ["2024-02-29T12:30:00", None, "2024-03-01T00:00:00.000001"],
            pd.Series(
                pd.to_datetime(
                    ["2024-02-29T12:30:00", None, "2024-03-01T00:00:00.000001"], format="ISO8601"
                ).astype("datetime64[ns]")
            ),
        ),
        (
            feature("datetime", "datetime64[s]"),
            ["2024-02-29T12:30:00"],
            pd.Series(pd.to_datetime(["2024-02-29T12:30:00"]).astype("datetime64[s]")),
        ),
        (
            feature("datetime", "datetime64[us, Europe/Berlin]"),
            ["2024-02-29T12:30:00"],
            pd.Series(
                pd.to_datetime(["2024-02-29T13:30:00"])
                .tz_localize("Europe/Berlin")
                .astype("datetime64[us, Europe/Berlin]")
            ),
        ),
    ],
)
def test_strings_and_moments_have_the_dtype_of_training(
    column_feature: Feature, values: list[Any], expected: Any
) -> None:
    """An estimator's column of categories gets the codes it knows; a gap is a gap of its dtype."""
    pd.testing.assert_series_equal(column(column_feature, *values), expected, check_names=False)


def test_a_table_of_numbers_is_one_block() -> None:
    """Pandas takes the rows as they are, without a copy for each column."""
    features = [Feature(name=name, **NUMBER) for name in ("b", "a")]
    rows = rows_of(features, [[1.5, 2.5], [3.5, 4.5]])
    frame = FrameBuilder(features)(rows)
    assert list(frame) == ["b", "a"]
    assert np.shares_memory(frame.to_numpy(), rows)


def test_training_rows_are_rebuilt(mixed: Model) -> None:
    """The frame of a table's values is that table, and the estimator answers it the same."""
    table = mixed_table(50)
    records = [
        {name: _json_value(name, value) for name, value in record.items()}
        for record in table.to_dict("records")
    ]
    rows = mixed.rows(*records)
    pd.testing.assert_frame_equal(FrameBuilder(MIXED)(rows), table)
    found = mixed.predictor.predict(rows)
    assert found.values == mixed.estimator.predict(table).tolist()
    assert found.scores == mixed.estimator.predict_proba(table).tolist()
    assert mixed.rows(INSTANCE).dtype == object


def _json_value(name: str, value: Any) -> Any:
    if pd.isna(value):
        return None
    if name == "age":
        return int(value)
    return value.isoformat() if name == "since" else value
