"""What all command lines here have in common: one line for bad input, and one range check."""

import argparse
import math
from collections.abc import Iterable, Mapping
from typing import NoReturn

USAGE_ERROR = 2


class Parser(argparse.ArgumentParser):
    """Refuses bad input in one line, where argparse prints its usage as well."""

    def error(self, message: str) -> NoReturn:
        """Exit with `USAGE_ERROR`."""
        self.exit(USAGE_ERROR, f"error: {message}; see {self.prog} --help\n")


def find_bad_number(
    options: argparse.Namespace,
    *,
    above_zero: Iterable[str] = (),
    at_least: Mapping[str, float] | None = None,
) -> str | None:
    """The first option that is out of its range, or no finite number; None if there is none.

    Args:
        options: what was parsed; an option of None was not given.
        above_zero: names of those that must be above 0.
        at_least: the smallest value of others.
    """
    for name in above_zero:
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            return f"{_flag(name)} {value}: must be a number above 0"
    for name, least in (at_least or {}).items():
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            return f"{_flag(name)} {value}: must be a number, {least:g} or more"
    return None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
