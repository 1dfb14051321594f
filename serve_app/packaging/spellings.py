"""Numbers and booleans as spreadsheets spell them, which CSV readers take for strings."""

import re
from typing import Any

BOOLEANS = frozenset(
    ("wahr", "falsch", "vrai", "faux", "verdadero", "falso", "vero", "waar", "onwaar")
)
"""True and false as spreadsheets write them in other languages."""
THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}([.,'\u2019 \u00a0\u202f]\d{3})+([.,]\d+)?\s*")
"""A number with separators of thousands."""
NUMBER = re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*")
MOST = 3
"""Columns that are named."""


def odd_spellings(frame: Any) -> str:
    """What follows in a message where columns of strings look like numbers or booleans."""
    strings = frame.select_dtypes(["object", "string"])
    found = [said for name in strings if (said := _odd_spelling(name, strings[name]))]
    return "".join(f"; {said}" for said in found[:MOST])


def _odd_spelling(name: str, column: Any) -> str | None:
    values = [str(value) for value in column.dropna().unique()]
    if values and all(value.strip().lower() in BOOLEANS for value in values):
        return f"column {name!r} has {values[0]!r}: write true and false"
    odd = [value for value in values if THOUSANDS.fullmatch(value)]
    if odd and all(THOUSANDS.fullmatch(each) or NUMBER.fullmatch(each) for each in values):
        return f"column {name!r} has {odd[0]!r}: write numbers without separators of thousands"
    return None
