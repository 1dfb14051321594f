"""What each kind of process imports: no more than it uses, which decides how soon it starts."""

import os
import pkgutil
import re
import subprocess
import sys

import pytest

from serve_app import ray_internals
from serve_app.environment import PRODUCTION, TRACING_IMPORT_PATH

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
            # Its purpose is to import Ray, in processes of Ray.
            if module.name != "preload"
        ),
        ("serve_app.deployment", ENGINES),
    ],
)
def test_importing_a_module_loads_no_more_than_it_needs(module: str, absent: set[str]) -> None:
    """A replica carries one engine, and Ray is imported after its environment is set."""
    assert not loaded_by(module) & absent


PRELOAD = PRODUCTION["RAY_preload_python_modules"]
MIDDLEWARE = PRODUCTION["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].partition(":")[0]
HOOK = TRACING_IMPORT_PATH.partition(":")[0]


def import_times(*modules: str) -> dict[str, int]:
    """Microseconds that each module takes by itself, in a fresh process that imports these."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "importtime", "-c", f"import {', '.join(modules)}"],
        env={**os.environ, **PRODUCTION},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE)
    return {name: int(microseconds) for microseconds, name in lines}


@pytest.mark.parametrize(
    ("modules", "most"),
    [
        (["serve_app.cli.main"], 190),
        (["serve_app.runtime.launch"], 340),
        (["serve_app.runtime.ingress"], 130),
        (["serve_app.tracing.child"], 80),
    ],
)
def test_a_process_without_ray_is_small(modules: list[str], most: int) -> None:
    """Every command, the launcher, HAProxy's program and the exporter have a budget of modules."""
    assert 10 < len(import_times(*modules)) < most


@pytest.mark.parametrize(
    ("modules", "most"),
    [(["serve_app.deployment", HOOK], 120), ([MIDDLEWARE], 120)],
)
def test_a_process_of_serve_adds_little_to_serve(modules: list[str], most: int) -> None:
    """A replica and a proxy add few modules, and less than half of the time that Serve takes."""
    alone = import_times(PRELOAD)
    with_ours = import_times(PRELOAD, *modules)
    ours = with_ours.keys() - alone.keys()
    assert "serve_app.telemetry.logs" in ours
    assert len(ours) < most
    added = sum(with_ours[name] for name in ours)
    assert added < (sum(with_ours.values()) - added) / 2
