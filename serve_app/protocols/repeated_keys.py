"""Finds keys that a body of JSON has twice, by counting strings: no parser tells of them."""

import collections
import json
from typing import Any

from serve_app.protocols.errors import repeated_keys


def reject_repeated_keys(body: bytes, *, expected: int) -> None:
    """Refuse a valid body that has another number of strings than was parsed from it.

    JSON parsers keep the last of two equal keys and hide the client's mistake. The strings of a
    body are its keys and values. What a parser drops is at least a key. So the numbers are equal if
    and only if no key is repeated.
    """
    if has_strings(body, expected):
        return
    repeated: list[str] = []

    def note_repeated(pairs: list[tuple[str, Any]]) -> None:
        counts = collections.Counter(key for key, _ in pairs)
        repeated.extend(key for key, count in counts.items() if count > 1)

    json.loads(body, object_pairs_hook=note_repeated)
    raise repeated_keys(repeated)


def has_strings(body: bytes, expected: int) -> bool:
    """Whether valid JSON has so many strings: each has two quotation marks, not escaped."""
    return _quotation_marks(body) == 2 * expected


def strings_in(value: Any) -> int:
    """Strings in parsed JSON, keys among them; see `reject_repeated_keys`."""
    if isinstance(value, str):
        return 1
    if isinstance(value, dict):
        return len(value) + sum(map(strings_in, value.values()))
    if isinstance(value, list):
        return sum(map(strings_in, value))
    return 0


def _quotation_marks(body: bytes) -> int:
    """Quotation marks of valid JSON that begin or end a string."""
    if b"\\" not in body:
        return body.count(b'"')
    # Backslashes are in strings only, and the first of a run begins an escape sequence. Without the
    # pairs, one that is left before a quotation mark escapes it.
    body = body.replace(b"\\\\", b"")
    return body.count(b'"') - body.count(b'\\"')
