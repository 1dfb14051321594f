"""What all examples have in common: where to write, and what to print."""

import sys
from collections.abc import Callable
from pathlib import Path

from serve_app.model.card import ModelCard
from serve_app.packaging.summary import summary


def run(example: Callable[[Path], ModelCard]) -> None:
    """Package what ``example`` trains in the directory of the first argument, or in ``model``."""
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "model")
    print(summary(example(directory), directory))
