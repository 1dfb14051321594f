"""Engines, compilers and Ray are imported only where they are used."""

import pkgutil
import subprocess
import sys

import pytest

from serve_app import ray_internals

ENGINES = frozenset({"joblib", "onnxruntime", "sklearn"})
SERVING = frozenset({"ray", "starlette"})


def loaded_by(module: str) -> set[str]:
    """Top-level packages in a fresh process that imports a module."""
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.decode().split()}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("serve_app.model.predictor", ENGINES | SERVING),
        ("serve_app.model.loading", ENGINES | SERVING),
        ("serve_app.packaging.package", ENGINES | SERVING),
        ("serve_app.packaging.train", ENGINES | SERVING),
        # Ray reads the environment of the production mode when it is imported.
        ("serve_app.runtime.launch", ENGINES | SERVING),
        ("serve_app.serve_config", ENGINES | SERVING),
        *(
            (f"serve_app.ray_internals.{module.name}", {"ray"})
            for module in pkgutil.iter_modules(ray_internals.__path__)
        ),
        ("serve_app.deployment", ENGINES),
    ],
)
def test_importing_a_module_loads_no_more_than_it_needs(module: str, absent: set[str]) -> None:
    """A replica carries one engine, and Ray is imported after its environment is set."""
    assert not loaded_by(module) & absent
