"""Ray Serve without pandas and pyarrow, against the installed Ray."""

import subprocess
import sys

import pytest

from serve_app.environment import PRODUCTION
from serve_app.ray_internals import nodes
from tests.ray_internals.installed import RAY, source

SHOW = "import sys; print(*(name for name in ('pandas', 'pyarrow') if name in sys.modules))"


def output_of(*lines: str) -> str:
    """What a fresh process prints that runs these lines."""
    program = "\n".join(lines)
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_process_of_serve_has_no_tables_in_it() -> None:
    """Neither when it imports Serve, nor when it serialises something; Serve's own import does."""
    serialise = "import ray; ray.util.serialization_addons.apply(ray._private.serialization."
    serialise += "SerializationContext(None))"
    assert output_of("import ray.serve", SHOW) == "pandas pyarrow"
    preload = f"import {PRODUCTION['RAY_preload_python_modules']}"
    assert output_of(preload, serialise, SHOW) == ""


@pytest.mark.parametrize("first", ["", "import pandas"])
def test_models_still_have_pandas(first: str) -> None:
    """What was kept away from Serve is there for everybody else, before and after."""
    lean = "from serve_app.ray_internals.lean import import_serve; import_serve()"
    lines = "import pandas, pyarrow; print(len(pandas.DataFrame({'a': [1, 2]})))"
    assert output_of(first, lean, lines) == "2"


def test_ray_preloads_what_the_variable_names() -> None:
    """The raylet reads the variable, and each worker process imports what it names."""
    raylet = (RAY / "core" / "src" / "ray" / "raylet" / nodes.RAYLET).read_bytes()
    assert b"RAY_preload_python_modules" in raylet
    assert "try_import_each_module(module_names_to_import)" in source(
        "_private/workers/default_worker.py"
    )
