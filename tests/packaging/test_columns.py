"""Columns are read from DataFrames, CSV and options; what cannot be used is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serve_app.model.card import Feature
from serve_app.packaging.columns import PackagingError, features_of, parse_feature, read_csv


def test_a_data_frame_gives_names_and_ranges() -> None:
    """Names, also such that are no identifiers, and the range of each column."""
    table = pd.DataFrame({"a (cm)": [1, 3, 2], 7: [0.5, -0.5, 0.0]})
    assert features_of(table) == (
        Feature(name="a (cm)", minimum=1, maximum=3),
        Feature(name="7", minimum=-0.5, maximum=0.5),
    )


def test_a_csv_file_is_a_table_like_others(tmp_path: Path) -> None:
    """Names from the header line, quoted where they must be, and numbers below."""
    path = tmp_path / "rows.csv"
    path.write_text('"a, b",c\n1,2e1\n3,-4\n')
    table = read_csv(path)
    assert table.to_numpy().tolist() == [[1, 20], [3, -4]]
    assert [feature.name for feature in features_of(table)] == ["a, b", "c"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "give features, or training_data"),
        (np.ones((2, 2)), "no column names"),
        (pd.DataFrame({"a": ["x"]}), "must be numeric"),
        (pd.DataFrame({"a": [1.0, np.nan]}), "1 missing or infinite values"),
        (pd.DataFrame({"a": []}, dtype=float), r"at least one row; found \(0, 1\)"),
        (pd.DataFrame({'a"b': [1.0]}), r"""name='a"b': String should match"""),
    ],
)
def test_data_without_usable_columns_is_refused(data: Any, message: str) -> None:
    """Features are taken from finite numbers in named columns only."""
    with pytest.raises(PackagingError, match=message):
        features_of(data)


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
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "no rows below a header"),
        ("a,b\n", "no rows below a header"),
        ("a,b\n1,x\n", "could not convert string to float: 'x'"),
        ("a,b\n1,2\n1\n", "row 2 has 1 cells, the header has 2"),
        ("a,b,c\n1,2\n3,4\n", "row 1 has 2 cells, the header has 3"),
        ("a\n1,2\n3,4\n", "row 1 has 2 cells, the header has 1"),
        ("1,2\n3,4\n", "the first row, 1, 2, holds numbers; put the columns' names above it"),
        ("1e3\n", "no rows below a header"),
        ("a\n" + "1" * 200_000 + "\n", "field larger than field limit"),
    ],
)
def test_an_unusable_csv_file_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    """The refusal names the file and what is wrong with it."""
    path = tmp_path / "rows.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PackagingError, match=f"rows.csv: cannot read a table.*{message}"):
        read_csv(path)
