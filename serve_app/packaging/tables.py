"""Tables as people have them: files, and the DataFrames and arrays of other libraries.

All of them become one pandas DataFrame whose column names are strings.
"""

import gzip
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from serve_app.errors import UserError, excerpt
from serve_app.packaging.csv_text import WINDOWS, decoded, frame_of_csv

# Files that people take for tables, by their first bytes.
FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x80": "a pickle",
    b"{": "JSON",
}
TEXT = "text"
"""Name of an only column of strings that has none."""
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"


class PackagingError(UserError):
    """An estimator or data that cannot be packaged: names the value and the fix."""


def read_table(
    path: Path,
    *,
    known: Mapping[str, Collection[Any]] | None = None,
    report: Callable[[str], None] | None = None,
) -> Any:
    """Read a CSV file (also gzipped) with a header line, or a Parquet file.

    CSV: UTF-8 with or without BOM, UTF-16, or else Windows-1252; separated by comma, semicolon
    (then also with decimal commas), tab or bar. Empty cells are missing values. A first column
    without a name is the index that pandas writes, and left out.

    Args:
        path: the file.
        known: values of columns that the estimator knows. In CSV, NA and the like are missing
            values, unless the estimator knows them as values of that column.
        report: shows a line about what should be known.

    Returns:
        A pandas DataFrame.

    Raises:
        PackagingError: unreadable, no header, or rows of different lengths.
    """
    try:
        return _read(path, known or {}, report or (lambda _: None))
    except PackagingError:
        raise
    except Exception as error:  # pandas and pyarrow raise dozens of types
        raise PackagingError(
            f"{path}: cannot read a table: {excerpt(str(error)) or type(error).__name__}; save it "
            "as CSV UTF-8 with a header line, or as Parquet"
        ) from error


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


def _read(path: Path, known: Mapping[str, Collection[Any]], report: Callable[[str], None]) -> Any:
    content = path.read_bytes()
    if content.startswith(GZIP):
        content = gzip.decompress(content)
    if content.startswith(PARQUET):
        return _checked(_parquet(content))
    for start, what in FOREIGN.items():
        if content.startswith(start):
            raise ValueError(f"it is {what}")
    text, encoding = decoded(content)
    frame = _checked(frame_of_csv(text, known))
    if encoding == WINDOWS:
        report(f"{path} is not UTF-8; it is read as Windows-1252, as Excel writes plain CSV")
    return frame


def _parquet(content: bytes) -> Any:
    import pandas as pd

    return pd.read_parquet(io.BytesIO(content))
