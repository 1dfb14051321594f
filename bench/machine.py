"""What it is measured on."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from bench import PROJECT

PACKAGES = (
    *("fastapi", "httptools", "numpy", "onnxruntime", "orjson", "pandas", "pydantic", "ray"),
    *("scikit-learn", "starlette", "uvicorn", "uvloop"),
)


def machine() -> dict[str, object]:
    """Hardware, load before the start, and versions."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_average_at_start": os.getloadavg(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    return done.stdout.strip() or "unknown"
