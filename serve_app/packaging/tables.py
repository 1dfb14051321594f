"""Tables as people have them: files, and the DataFrames and arrays of other libraries.

All of them become one pandas DataFrame whose column names are strings.
"""

import csv
import gzip
import io
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serve_app.errors import UserError, excerpt

SEPARATORS = (",", ";", "\t", "|")
LONGEST_CELL = 100_000_000
"""Characters of one cell; the standard library's own limit, 131,072, is below some documents."""
# Files that people take for tables, by their first bytes.
FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x80": "a pickle",
    b"{": "JSON",
}
MISSING = frozenset(
    (
        *("", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>"),
        *("#N/A", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    )
)
"""What pandas takes for a missing value in CSV."""
TEXT = "text"
"""Name of an only column of strings that has none."""
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class PackagingError(UserError):
    """An estimator or data that cannot be packaged: names the value and the fix."""


def read_table(
    path: Path,
    *,
    leave_out: Collection[str] = (),
    known: Mapping[str, Collection[Any]] | None = None,
) -> Any:
    """Read a CSV file (also gzipped) with a header line, or a Parquet file.

    CSV: UTF-8 with or without BOM, or UTF-16; separated by comma, semicolon (then also with decimal
    commas), tab or bar. Empty cells are missing values. A first column without a name is the index
    that pandas writes, and left out.

    Args:
        path: the file.
        leave_out: names of columns that are not inputs, such as the target.
        known: values of columns that the estimator knows. In CSV, NA and the like are missing
            values, unless the estimator knows them as values of that column.

    Returns:
        A pandas DataFrame.

    Raises:
        PackagingError: unreadable, no header, rows of different lengths, or no column to leave out.
    """
    try:
        frame = _read(path, known or {})
    except PackagingError:
        raise
    except Exception as error:  # pandas and pyarrow raise dozens of types
        raise PackagingError(
            f"{path}: cannot read a table: {excerpt(str(error)) or type(error).__name__}; save it "
            "as CSV UTF-8 with a header line, or as Parquet"
        ) from error
    unknown = [name for name in leave_out if name not in frame.columns]
    if unknown:
        raise PackagingError(
            f"{path}: no column {', '.join(map(repr, unknown))} to leave out; its columns are "
            f"{names(frame.columns)}"
        )
    return frame.drop(columns=list(leave_out))


def as_frame(data: Any, columns: Sequence[str] | None = None) -> Any:
    """Training rows as a pandas DataFrame; other DataFrames are asked for it with ``to_pandas``.

    Args:
        data: DataFrame of pandas, polars or pyarrow, an array of shape [rows, features], or texts
            of shape [rows].
        columns: names for data that has none.

    Raises:
        PackagingError: no table, no rows, names that are missing or repeated.
    """
    import pandas as pd

    found = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
    if hasattr(data, "toarray"):
        raise PackagingError(
            "training_data is a sparse matrix; package the step that makes it, such as "
            "TfidfVectorizer, and the estimator as one pipeline, with what that pipeline takes"
        )
    try:
        data = _pandas_or_array(data)
    except (ImportError, TypeError, ValueError) as error:
        raise PackagingError(
            f"training_data, a {found}, does not become a pandas DataFrame: {error}; give a "
            "DataFrame, or an array of shape [rows, features]"
        ) from error
    if isinstance(data, pd.Series):
        data = data.to_frame(columns[0] if columns else (data.name or TEXT))
    elif not isinstance(data, pd.DataFrame):
        if columns is None and data.shape[1] == 1 and data.dtype == object:
            columns = [TEXT]
        if columns is None:
            raise PackagingError("training_data has no column names; give features, or a DataFrame")
        if data.shape[1] != len(columns):
            raise PackagingError(
                f"numbers of columns differ: features has {len(columns)}, training_data has "
                f"{data.shape[1]}"
            )
        data = pd.DataFrame(data, columns=list(columns)).infer_objects()
    return _checked(data)


def _pandas_or_array(data: Any) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(data, pd.DataFrame | pd.Series):
        return data
    if hasattr(data, "collect") and not hasattr(data, "to_pandas"):
        data = data.collect()  # a polars LazyFrame
    if hasattr(data, "to_pandas"):
        return data.to_pandas()
    if isinstance(data, dict) or getattr(getattr(data, "dtype", None), "names", None):
        return pd.DataFrame(data)
    return _array(np, data)


def _array(np: Any, data: Any) -> Any:
    array = data if isinstance(data, np.ndarray) else np.array(data, dtype=_common_type(np, data))
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2:  # noqa: PLR2004
        raise ValueError(f"it has shape {array.shape}")
    return array


def _common_type(np: Any, data: Any) -> Any:
    """Without this, NumPy would make strings of numbers beside strings."""
    return object if np.asarray(data).dtype.kind in "US" else None


def _checked(frame: Any) -> Any:
    if frame.columns.nlevels > 1:
        raise PackagingError(
            "training_data has several rows of column names; give each column one name"
        )
    if not len(frame) or not len(frame.columns):
        raise PackagingError(
            "training_data must have shape [rows, features], at least one row and one column; "
            f"found {frame.shape}"
        )
    frame = frame.set_axis([str(column) for column in frame.columns], axis="columns")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise PackagingError(f"feature names must be unique; repeated: {names(repeated)}")
    return frame.reset_index(drop=True).apply(_in_memory_of_numpy)


def _in_memory_of_numpy(column: Any) -> Any:
    """A column of Arrow, or a sparse one, with the data type that pandas itself would give it."""
    import pandas as pd

    if isinstance(column.dtype, pd.SparseDtype):
        return column.sparse.to_dense()
    if isinstance(column.dtype, pd.ArrowDtype):
        return column.array.__arrow_array__().to_pandas()
    return column


def names(columns: Collection[Any], most: int = 12) -> str:
    """Column names for a message; of very many, the first."""
    shown = ", ".join(str(column) for column in list(columns)[:most])
    return shown if len(columns) <= most else f"{shown} and {len(columns) - most} more"


def _read(path: Path, known: Mapping[str, Collection[Any]]) -> Any:
    content = path.read_bytes()
    if content.startswith(GZIP):
        content = gzip.decompress(content)
    if content.startswith(PARQUET):
        return _checked(_parquet(content))
    for start, what in FOREIGN.items():
        if content.startswith(start):
            raise ValueError(f"it is {what}")
    return _checked(_csv(_text(content), known))


def _parquet(content: bytes) -> Any:
    import pandas as pd

    return pd.read_parquet(io.BytesIO(content))


def _text(content: bytes) -> str:
    encoding = "utf-16" if content.startswith(UTF_16) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8") from error


def _csv(text: str, known: Mapping[str, Collection[Any]]) -> Any:
    import pandas as pd

    header, separator, trailing = _layout(text)
    with warnings.catch_warnings():
        # A column of more than one type is none to guess about.
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        missing = {name: sorted(MISSING - set(map(str, known.get(name, ())))) for name in header}
        options = {"keep_default_na": False, "na_values": missing}
        frame = _parse(text, separator, **options)
        if separator == ";" and _has_decimal_commas(frame):
            frame = _parse(text, separator, decimal=",", **options)
    if trailing:
        frame = frame.iloc[:, :-1]
    frame.columns = header[: frame.shape[1]]
    return frame.iloc[:, 1:] if header[0] == "" and frame.shape[1] > 1 else frame


def _parse(text: str, separator: str, **options: Any) -> Any:
    import pandas as pd

    return pd.read_csv(
        io.StringIO(text), sep=separator, index_col=False, low_memory=False, **options
    )


def _has_decimal_commas(frame: Any) -> bool:
    """Whether a column of text would be numbers if its commas were points."""
    columns = [frame[name].dropna() for name in frame.select_dtypes(["object", "string"])]
    return any(
        len(column)
        and column.astype("str").str.fullmatch(r"\s*[-+]?\d+(,\d+)?(e[-+]?\d+)?\s*").all()
        for column in columns
    )


def _layout(text: str) -> tuple[list[str], str, bool]:
    """Header, separator, and whether each line ends with a separator; checks every row's length."""
    separator = _separator(text)
    with _long_cells():
        lines = io.StringIO(text, newline="")
        rows = (
            row
            for row in csv.reader(lines, delimiter=separator)
            if "".join(row[:2]).strip() or len(row) > 1
        )
        header = next(rows, [])
        _check_header(header)
        width = len(header)
        trailing = header[-1] == "" and width > 1
        count = 0
        for count, row in enumerate(rows, start=1):
            if len(row) != width:
                raise ValueError(
                    f"row {count} has {len(row)} cells, the header has {width}; give each column a "
                    "name and each row a cell for it"
                )
            trailing = trailing and row[-1] == ""
    if not count:
        raise ValueError("no rows below a header")
    blank = [position for position, name in enumerate(header, start=1) if not name.strip()]
    if trailing:
        blank = blank[:-1]
    if blank not in ([], [1]):
        raise ValueError(f"column {blank[-1]} has no name; give it one")
    return header, separator, trailing


def _check_header(header: Sequence[str]) -> None:
    if not any(header):
        raise ValueError("no rows below a header")
    # A DataFrame made from an array has the names 0, 1, 2.
    counted = [name for name in header if name] == [
        str(number) for number in range(len([name for name in header if name]))
    ]
    if all(map(_is_number, header)) and not (counted and len(header) > 1):
        raise ValueError(
            f"the first row, {', '.join(header)}, holds numbers; put the columns' names above it"
        )
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise ValueError(f"feature names must be unique; repeated: {', '.join(repeated)}")


def _separator(text: str) -> str:
    """The separator that the header has most of, outside of quotation marks."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    unquoted = "".join(first.split('"')[::2])
    return max(SEPARATORS, key=unquoted.count)


@contextmanager
def _long_cells() -> Iterator[None]:
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
