"""Tables are read as people have them; what is no table is refused in one line."""

import gzip
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from serve_app.packaging.tables import PackagingError, as_frame, read_table


def read(tmp_path: Path, content: bytes | str, **options: Any) -> Any:
    """What `read_table` makes of a file with this content."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, **options)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ('"a, b",c\n1,2e1\n3,-4\n', {"a, b": [1, 3], "c": [20, -4]}),
        ("\ufeffa (cm),b\n1,2\n3,4\n\n", {"a (cm)": [1, 3], "b": [2, 4]}),
        ("a,b\n1,2\n   \n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("a;b\n1,5;x\n-2;y\n", {"a": [1.5, -2], "b": ["x", "y"]}),
        ("a\tb\n1\tTrue\n2\tFalse\n", {"a": [1, 2], "b": [True, False]}),
        (",a,b\n0,1,x\n1,2,y\n", {"a": [1, 2], "b": ["x", "y"]}),
        ("a,b,\n1,x,\n2,y,\n", {"a": [1, 2], "b": ["x", "y"]}),
        ("0,1\n3,4\n5,6\n", {"0": [3, 5], "1": [4, 6]}),
        ('a,b\n"one\ntwo",1\n"say ""hi""",2\n', {"a": ["one\ntwo", 'say "hi"'], "b": [1, 2]}),
        (gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0), {"a": [1, 3], "b": [2, 4]}),
        ("a\tb\n1\tü\n".encode("utf-16"), {"a": [1], "b": ["ü"]}),
    ],
)
def test_csv_is_read_as_programs_write_it(
    tmp_path: Path, content: bytes | str, columns: dict[str, list[Any]]
) -> None:
    """BOM, separators, decimal commas, an index, blank lines, quotes, gzip and UTF-16."""
    assert read(tmp_path, content).to_dict("list") == columns


def test_empty_cells_are_missing_values(tmp_path: Path) -> None:
    """In numbers, strings and booleans alike."""
    frame = read(tmp_path, "a,b,c\n1,x,True\n,,\n2,NA,False\n")
    assert frame.isna().to_numpy().tolist() == [[False] * 3, [True] * 3, [False, True, False]]


def test_what_the_estimator_knows_as_a_value_is_none_that_is_missing(tmp_path: Path) -> None:
    """NA may be Namibia: an estimator that was fitted on the string gets the string."""
    content = "country,continent\nNA,NA\nDE,EU\n"
    frame = read(tmp_path, content, known={"country": ["DE", "NA"]})
    assert frame["country"].tolist() == ["NA", "DE"]
    assert frame["continent"].isna().tolist() == [True, False]


def test_plain_csv_of_excel_is_read_and_said_to_be_so(tmp_path: Path) -> None:
    """Of bytes that are not UTF-8, nobody can be sure which letters they are."""
    said: list[str] = []
    content = "sep=;\r\nGr\u00f6\u00dfe;Preis in \u20ac\r\n1,5;2\r\n2,5;3\r\n"
    frame = read(tmp_path, content.encode("cp1252"), report=said.append)
    assert frame.to_dict("list") == {"Gr\u00f6\u00dfe": [1.5, 2.5], "Preis in \u20ac": [2, 3]}
    (line,) = said
    assert line.startswith(f"{tmp_path / 'rows.csv'} is not UTF-8; it is read as Windows-1252")
    assert read(tmp_path, content, report=said.append).equals(frame)
    assert len(said) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_first_line_says_what_separates(tmp_path: Path, end: str) -> None:
    """Whatever else the header has most of."""
    frame = read(tmp_path, end.join(["sep=|", "a, b, c|d", "1|2", ""]))
    assert frame.to_dict("list") == {"a, b, c": [1], "d": [2]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows below a header"),
        ("a,b\n", "no rows below a header"),
        ("a,b\n1,2\n1\n", "row 2 has 1 cells, the header has 2"),
        ("a,b,c\n1,2\n3,4\n", "row 1 has 2 cells, the header has 3"),
        ("a\n1,2\n3,4\n", "row 1 has 2 cells, the header has 1"),
        ("1,2\n3,4\n", "the first row, 1, 2, holds numbers; put the columns' names above it"),
        ("a,a\n1,2\n", "feature names must be unique; repeated: a"),
        ("a,,b\n1,2,3\n", "column 2 has no name"),
        (b"a,b\n1,\x81\n", "line 2 is not UTF-8"),
        (b"\xef\xbb\xbfa,b\n1,\xe9\n", "line 2 is not UTF-8"),
        (b"a,b\n1,\xc3\xbc\n2,\xe9\n", "line 3 is not UTF-8"),
        (b"PK\x03\x04...", "it is an Excel workbook or a zip archive"),
        (b"\x80\x04K\x01.", "it is a pickle"),
        (b"\x1f\x8bno gzip", "[Cc]ompress"),
        (b"PAR1 and no more", "(Parquet|pyarrow)"),
    ],
)
def test_an_unusable_file_is_refused(tmp_path: Path, content: bytes | str, message: str) -> None:
    """The refusal names the file, what is wrong with it and what to give, in one line."""
    with pytest.raises(PackagingError, match=f"rows.csv: cannot read a table: .*{message}") as info:
        read(tmp_path, content)
    assert "\n" not in str(info.value)
    assert "save it as CSV UTF-8 with a header line, or as Parquet" in str(info.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """As any other file that cannot be read."""
    with pytest.raises(PackagingError, match="No such file"):
        read_table(tmp_path / "rows.csv")


def test_parquet_is_read_without_its_index(tmp_path: Path) -> None:
    """Data types are those of the file."""
    table = pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["x", None])}, index=[7, 9])
    table.to_parquet(tmp_path / "rows.parquet")
    frame = read_table(tmp_path / "rows.parquet")
    assert frame.dtypes.astype(str).to_dict() == {"a": "int64", "b": "category"}


def test_data_frames_of_other_libraries_are_taken() -> None:
    """Each is asked for a pandas DataFrame, with its gaps."""
    polars, arrow = map(importlib.import_module, ("polars", "pyarrow"))
    columns = {"a": [1.5, None], "s": ["x", None]}
    lazy = polars.LazyFrame(columns)
    for data in (polars.DataFrame(columns), lazy, arrow.table(columns), pd.DataFrame(columns)):
        frame = as_frame(data)
        assert list(frame.columns) == ["a", "s"]
        assert frame.isna().to_numpy().tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (np.array([[1, 2.5]]), "ff"),
        (np.array([["x", 1]], dtype=object), "Oi"),
        ([["x", 1], ["y", 2]], "Oi"),
        ({"a": [1], "b": ["x"]}, "iO"),
        (np.array([(1, 2.5)], dtype=[("a", int), ("b", float)]), "if"),
    ],
)
def test_arrays_and_lists_are_taken_with_names(data: Any, kinds: str) -> None:
    """Columns of an object array get the data types of their values."""
    frame = as_frame(data, ["a", "b"])
    assert list(frame.columns) == ["a", "b"]
    assert [dtype.kind for dtype in frame.dtypes] == list(kinds)


@pytest.mark.parametrize("data", [["good", "bad"], pd.Series(["good", "bad"])])
def test_texts_are_one_column(data: Any) -> None:
    """What a text vectoriser was fitted on needs no name."""
    assert as_frame(data).to_dict("list") == {"text": ["good", "bad"]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((2, 2)), "no column names"),
        (np.ones((2, 2, 2)), r"numpy ndarray, does not become .* shape \(2, 2, 2\)"),
        ("rows.csv", "a builtins str, does not become a pandas DataFrame"),
        (scipy.sparse.eye(2), "sparse matrix; package the step that makes it"),
        (pd.DataFrame({"a": []}), r"at least one row and one column; found \(0, 1\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "must be unique; repeated: a"),
        (pd.DataFrame([[1]], columns=[["a"], ["b"]]), "several rows of column names"),
    ],
)
def test_what_is_no_table_is_refused(data: Any, message: str) -> None:
    """The refusal says what was given and what to give."""
    with pytest.raises(PackagingError, match=message):
        as_frame(data)
