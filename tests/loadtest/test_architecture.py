"""The package is built as its docstring says: imports go in one direction."""

import ast
import re
from pathlib import Path

import loadtest

PACKAGE = Path(loadtest.__file__).parent
LISTED = re.findall(r"^    (\w+) +\S", loadtest.__doc__ or "", re.MULTILINE)


def test_the_docstring_lists_every_module() -> None:
    """A newcomer finds each module in one place."""
    assert sorted(LISTED) == sorted(
        path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_")
    )


def test_modules_know_only_those_above_them() -> None:
    """No cycles: each module can be read after those that are listed before it."""
    for position, module in enumerate(LISTED):
        tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
        imported = {
            (node.module or "").removeprefix("loadtest.")
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("loadtest.")
        }
        assert imported <= set(LISTED[:position]), module
