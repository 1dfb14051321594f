"""CSV as people have it, as a DataFrame."""

import csv
import io
import re
import warnings
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

SEPARATORS = (",", ";", "\t", "|")


LONGEST_CELL = 100_000_000
"""Characters of one cell; the standard library's own limit, 131,072, is below some documents."""


MISSING = frozenset(
    (
        *("", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>"),
        *("#N/A", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    )
)
"""What pandas takes for a missing value in CSV."""


UTF_16 = (b"\xff\xfe", b"\xfe\xff")


WINDOWS = "cp1252"
"""The encoding of Excel's plain CSV in Western Europe and America."""


class Decoded(NamedTuple):
    """Text, and how it was encoded."""

    text: str
    encoding: str


def decoded(content: bytes) -> Decoded:
    """Text of UTF-8, with or without BOM, of UTF-16 with one, or of Windows-1252.

    Raises:
        ValueError: of another encoding.
    """
    encoding = "utf-16" if content.startswith(UTF_16) else "utf-8-sig"
    try:
        return Decoded(content.decode(encoding), encoding)
    except UnicodeDecodeError as error:
        # Where other letters are UTF-8, it is that with a fault.
        is_utf_8 = not content.decode("utf-8", "ignore").isascii()
        if not is_utf_8 and not content.startswith((*UTF_16, BOM_UTF8)):
            with suppress(UnicodeDecodeError):
                return Decoded(content.decode(WINDOWS), WINDOWS)
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8") from error


def frame_of_csv(text: str, known: Mapping[str, Collection[Any]]) -> Any:
    """A pandas DataFrame of CSV with a header line.

    Args:
        text: lines separated by comma, semicolon, tab or bar; a first line such as ``sep=;``, which
            Excel writes and reads, says by what.
        known: values of columns that the estimator knows, which are no missing values then.

    Raises:
        ValueError: no header, no rows, rows of different lengths, names that are missing or twice.
    """
    import pandas as pd

    said = re.match(r'"?sep=(.)"?[;,]*\r?\n', text)
    if said:
        text = text[said.end() :]
    header, separator, trailing = _layout(text, said[1] if said else _separator(text))
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


def _layout(text: str, separator: str) -> tuple[list[str], str, bool]:
    """Header, separator, and whether each line ends with a separator; checks every row's length."""
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
