"""A cancelled run stops what it has started, in order and undisturbed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM within; further ones do nothing.

    A second one, from an impatient user or a CI job, would break off the stopping of the rest.
    """
    before = [(number, signal.signal(number, _interrupt)) for number in STOPPING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    for number in STOPPING:
        # Not SIG_IGN: processes that are started from now on would inherit it.
        signal.signal(number, _ignore)
    raise KeyboardInterrupt


def _ignore(_number: int, _frame: object) -> None:
    pass
