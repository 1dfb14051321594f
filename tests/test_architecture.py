"""The package is built as its docstring says: imports in one direction, none with effects."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import serve_app

PACKAGE = Path(serve_app.__file__).parent
MODULES = tuple(
    sorted(
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if not path.stem.startswith("_")
    )
)
LISTED = tuple(re.findall(r"^    ([\w.]+)  +\S", serve_app.__doc__ or "", re.MULTILINE))
LONGEST_MODULE = 350
GUARDS = ("__name__ == '__main__'", "TYPE_CHECKING")
# What runs on import may define things, and nothing else.
DEFINITIONS = (
    *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Assign, ast.AnnAssign),
)


def path_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text(encoding="utf-8"))


@functools.cache
def imports(module: str) -> frozenset[str]:
    """Dotted names that a module imports, also inside of functions."""
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def own_imports(module: str) -> set[str]:
    """Modules of this package that a module imports."""
    return {name for name in MODULES if f"serve_app.{name}" in imports(module)}


def loaded_by(module: str) -> set[str]:
    """Top-level packages in a fresh process that imports a module."""
    program = f"import sys, serve_app.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.decode().split()}


def test_the_docstring_lists_every_module() -> None:
    """A newcomer finds each module in one place."""
    assert sorted(LISTED) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_in_one_direction(module: str) -> None:
    """Each module knows only those that the docstring lists above it."""
    assert own_imports(module) <= set(LISTED[: LISTED.index(module)])


@pytest.mark.parametrize(
    "module", ["package", *(module for module in MODULES if module.startswith("model."))]
)
def test_the_model_knows_nothing_of_its_service(module: str) -> None:
    """Neither the modules themselves nor what they build on import Ray or an HTTP library."""
    pending, reached = {module}, set()
    while pending:
        reached |= pending
        pending = set().union(*map(own_imports, pending)) - reached
    foreign = {name.partition(".")[0] for known in reached for name in imports(known)}
    assert not foreign & {"ray", "starlette", "fastapi", "opentelemetry"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("model.predictor", {"ray", "starlette", "sklearn", "joblib", "onnxruntime"}),
        ("model.loading", {"ray", "starlette", "sklearn", "joblib", "onnxruntime"}),
        ("package", {"ray", "starlette", "sklearn", "joblib", "onnxruntime", "skl2onnx"}),
        ("train", {"ray", "starlette", "sklearn", "joblib", "onnxruntime", "skl2onnx"}),
        # Ray reads the environment of the production mode on import: it must be set before.
        ("launcher", {"ray", "starlette", "sklearn", "joblib", "onnxruntime"}),
        ("deployment", {"sklearn", "joblib", "onnxruntime", "skl2onnx"}),
    ],
)
def test_engines_are_imported_only_where_they_are_used(module: str, absent: set[str]) -> None:
    """Importing a module loads no engine, so that a replica carries one and --help none."""
    assert not loaded_by(module) & absent


@pytest.mark.parametrize("module", MODULES)
def test_importing_has_no_effects(module: str) -> None:
    """On import, modules define; they open, start, register and print nothing."""
    for node in tree(module).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_guard = isinstance(node, ast.If) and ast.unparse(node.test) in GUARDS
        assert is_docstring or is_guard or isinstance(node, DEFINITIONS), ast.unparse(node)


@pytest.mark.parametrize("module", MODULES)
def test_no_function_changes_the_module(module: str) -> None:
    """There is no global state to reset between tests or to share between replicas."""
    assert not [node for node in ast.walk(tree(module)) if isinstance(node, ast.Global)]


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short(module: str) -> None:
    """A module that needs more lines has more than one reason to change."""
    lines = path_of(module).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_MODULE
