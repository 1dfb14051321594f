"""What was written is loaded in another process, as a replica does, and asked its sample."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.errors import excerpt
from serve_app.model.card import Engine
from serve_app.packaging.tables import PackagingError

TIMEOUT = 300.0
"""Seconds in which a model must be loaded."""
MEMORY_WARNING = 1_000.0
"""Megabytes of a replica's process above which packaging warns."""
SECONDS_WARNING = 20.0
"""Seconds of loading above which packaging warns."""

PROGRAM = """
import json, sys, time
first, last = json.loads(sys.argv[1])
sys.path = [*first, *sys.path, *last]
from pathlib import Path
import psutil
from serve_app.model.artifact import Artifact
from serve_app.model.loading import load_predictor, sample_rows

def chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

def measure(artifact, engine):
    started = time.perf_counter()
    predictor = load_predictor(artifact, engine)
    seconds = time.perf_counter() - started
    megabytes = psutil.Process().memory_info().rss / (1 << 20)
    rows = sample_rows(artifact.card)
    times = []
    deadline = time.perf_counter() + 0.3
    while len(times) < 5 or (len(times) < 500 and time.perf_counter() < deadline):
        before = time.perf_counter()
        predictor.predict(rows)
        times.append(time.perf_counter() - before)
    return {
        "seconds": seconds,
        "megabytes": megabytes,
        "row_seconds": sorted(times)[len(times) // 2],
    }

try:
    artifact = Artifact.open(Path(sys.argv[2]))
    found = {engine: measure(artifact, engine) for engine in sys.argv[3:]}
except BaseException as error:
    causes = [
        {"type": type(each).__name__, "text": str(each), "module": getattr(each, "name", None)}
        for each in chain(error)
    ]
    found = {"errors": causes}
print("\\n" + json.dumps(found))
"""


@dataclass(frozen=True)
class Measured:
    """What loading and asking a model takes."""

    seconds: float
    """From start to the first answer, without the start of Python."""
    megabytes: float
    """Memory of the process that has loaded it."""
    row_seconds: float
    """Median time of a model call for one row."""


def load_in_fresh_process(directory: Path, engines: tuple[Engine, ...]) -> dict[Engine, Measured]:
    """Load a model directory with each of the ``engines``, first that which serves.

    The other process knows the installed packages, and neither the working directory nor the
    script that runs here.

    Raises:
        PackagingError: a service cannot load it; names the class, function or module.
    """
    installed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    own = str(Path(__file__).parents[2])
    # This package comes first, because another version may be installed. What is installed comes
    # last, because it must not hide the standard library.
    paths = ([] if own in installed else [own], installed)
    command = [sys.executable, "-I", "-W", "ignore", "-c", PROGRAM, json.dumps(paths)]
    try:
        done = subprocess.run(  # noqa: S603 - the program above
            [*command, str(directory.absolute()), *engines],
            capture_output=True,
            text=True,
            check=False,
            cwd=directory.absolute().parent,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise PackagingError(
            f"a fresh process could not load the model within {TIMEOUT:.0f} s; a replica cannot "
            "either: make the estimator smaller"
        ) from error
    found = _answer(done)
    if "errors" in found:
        raise PackagingError(_explained(found["errors"]))
    return {engine: Measured(**found[engine]) for engine in engines}


def warning_of(measured: Measured) -> str | None:
    """What a user should know of the memory and start-up time of a replica, if anything."""
    if measured.megabytes < MEMORY_WARNING and measured.seconds < SECONDS_WARNING:
        return None
    return (
        f"warning: a replica of this model needs {measured.megabytes:,.0f} MB and takes "
        f"{measured.seconds:.0f} s to load it, beside what Ray needs; the worker of the manifests "
        "has 2 GiB: give it more, or make the model smaller"
    )


def _answer(done: "subprocess.CompletedProcess[str]") -> Any:
    lines = done.stdout.strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PackagingError(
            f"a fresh process that loaded the model ended with {done.returncode}: {excerpt(last)}; "
            "the service could not load it either"
        ) from None


def _explained(errors: list[dict[str, Any]]) -> str:
    """The cause and the fix, from the exceptions of the other process, outermost first."""
    for error in errors:
        if error["type"] == "ModuleNotFoundError":
            return (
                f"the estimator needs the module {error['module']!r}, which is not installed: a "
                "service does not see the directory or script that it was made in; install it as "
                "a package, here and in the serving environment"
            )
        if error["type"] == "AttributeError" and "__main__" in error["text"]:
            found = re.search(r"attribute '([^']+)'", error["text"])
            name = found[1] if found else error["text"]
            return (
                f"the estimator needs {name!r}, which is defined in the script that ran (module "
                "__main__): no service can load it; move it into a module of an installed package "
                "and import it from there"
            )
    last = errors[-1]
    return (
        f"a fresh process cannot load the model: {last['type']}: {excerpt(last['text'])}; a "
        "service could not either: keep to classes and functions of installed packages"
    )
