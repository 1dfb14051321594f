"""Edits of HAProxy's config: each pattern is found as often as it must be, or nothing is done."""

import re
from collections.abc import Iterable

from serve_app.errors import UserError


class UnexpectedConfigError(UserError):
    """A config that is not as Ray's template was: names the pattern that is not found."""

    def __init__(self, pattern: str) -> None:
        super().__init__(
            f"the config that Ray wrote for HAProxy does not match {pattern!r} once; compare "
            "serve_app.ray_internals.haproxy.HaproxyTemplate with this version of Ray"
        )


def find(pattern: str, config: str) -> re.Match[str]:
    """The first place of a pattern.

    Raises:
        UnexpectedConfigError: there is none.
    """
    found = re.search(pattern, config, re.MULTILINE)
    if found is None:
        raise UnexpectedConfigError(pattern)
    return found


def replace_once(pattern: str, replacement: str, config: str, added: str = "") -> str:
    r"""``config`` with another text in the only place of a pattern.

    Args:
        pattern: a regular expression.
        replacement: may refer to its groups, as in ``\1``.
        config: the text.
        added: what follows the replacement, as it is.

    Raises:
        UnexpectedConfigError: there is none, or several.
    """
    config, found = re.subn(
        pattern, lambda match: match.expand(replacement) + added, config, flags=re.MULTILINE
    )
    if found != 1:
        raise UnexpectedConfigError(pattern)
    return config


def lines(texts: Iterable[str]) -> str:
    """Each on a line of its own, indented as in a section."""
    return "".join(f"\n    {text}" for text in texts)
