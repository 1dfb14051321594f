"""A cancelled run stops what it has started, in order and undisturbed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM within.

    Further ones do nothing, until the program ends: from an impatient user or a CI job, they would
    break off the stopping of the rest.
    """
    before = [(number, signal.signal(number, _interrupt)) for number in STOPPING]
    try:
        yield
    finally:
        for number, handler in before:
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    for number in STOPPING:
        # A handler of ours would be gone while Python itself ends.
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
