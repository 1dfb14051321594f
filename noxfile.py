"""Everything that is done to this project: ``nox -l`` lists it, ``nox`` alone checks it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

GITHUB = Path(".github")
LOCKS = Path("locks")
LOCK_SOURCES = {
    # What serves, and nothing else: the container image installs it.
    "serve": ["pyproject.toml"],
    # And what packages a model and the project itself.
    "train": ["pyproject.toml", "--extra", "train", "--group", "build"],
    "lint": ["--group", "lint"],
    "dev": ["pyproject.toml", "--extra", "train", "--group", "build", "--group", "dev"],
}

SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13")
PREFERRED_PYTHON = "3.12"
"""Serves about a tenth faster than its neighbours; the container image has it too."""
RUNNING_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ONE_PYTHON = RUNNING_PYTHON if RUNNING_PYTHON in SUPPORTED_PYTHONS else PREFERRED_PYTHON
"""For sessions that need no particular version: whichever is there already."""

TESTED_ONCE = ["tests/kuberay", "tests/loadtest", "tests/service"]
"""Minutes of starting services and tools, which other Python versions would not change."""


def is_installed(version: str) -> bool:
    """Whether that Python starts here; pyenv has commands for versions that do not."""
    command = shutil.which(f"python{version}")
    if command is None:
        return False
    done = subprocess.run([command, "-c", ""], check=False, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def oldest_and_newest() -> list[str]:
    """The supported Pythons to test with, of those that this machine has; uv can fetch any."""
    has_uv = shutil.which("uv") is not None
    usable = [version for version in SUPPORTED_PYTHONS if has_uv or is_installed(version)]
    return list(dict.fromkeys([usable[0], usable[-1]])) if usable else [PREFERRED_PYTHON]


TESTED_PYTHONS = oldest_and_newest()

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]
# Tests that did not run must not look like tests that passed.
nox.options.error_on_missing_interpreters = True


def install(session: nox.Session, lock: str) -> None:
    """Install exactly what a lock says, hashes checked, and the project itself."""
    # Ray starts a dozen Python processes: bytecode made once halves the start of each.
    session.env["UV_COMPILE_BYTECODE"] = "1"
    session.env["RAY_USAGE_STATS_ENABLED"] = "0"
    session.install("--require-hashes", "-r", str(LOCKS / f"{lock}.txt"))
    session.install("--no-deps", "--no-build-isolation", "-e", ".")


@nox.session(python=ONE_PYTHON)
def serve(session: nox.Session) -> None:
    """Serve the model in production mode, after training it if there is none: key=value ..."""
    install(session, "train")
    session.run("python", "-m", "serve_app.packaging.train", "--if-missing")
    # Takes the place of nox, which would die of SIGTERM and leave the service behind.
    command = [str(Path(session.bin) / "python"), "-m", "serve_app", *session.posargs]
    path = f"{session.bin}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **session.env, "PATH": path}
    os.execve(command[0], command, {k: v for k, v in environment.items() if v is not None})


@nox.session(python=TESTED_PYTHONS)
def tests(session: nox.Session) -> None:
    """Run every test on the newest Python, the package's own on the oldest; arguments: pytest's."""
    install(session, "dev")
    once = [] if session.python == TESTED_PYTHONS[-1] else TESTED_ONCE
    session.run("pytest", *(f"--ignore={path}" for path in once), *session.posargs)


@nox.session(python=ONE_PYTHON)
def lint(session: nox.Session) -> None:
    """Check style and form of the code, and that the workflows are valid and safe."""
    session.install("--require-hashes", "-r", str(LOCKS / "lint.txt"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    for schema, files in (
        ("vendor.github-workflows", sorted(GITHUB.glob("workflows/*.yaml"))),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
    ):
        session.run("check-jsonschema", "--builtin-schema", schema, *map(str, files))
    session.run("zizmor", "--offline", "--no-progress", "--persona=pedantic", str(GITHUB))


@nox.session(python=ONE_PYTHON)
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    install(session, "dev")
    session.run("mypy")


@nox.session(python=ONE_PYTHON)
def bench(session: nox.Session) -> None:
    """Measure against Ray's ceiling and other servers, in one run; --help lists options."""
    install(session, "dev")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(python=ONE_PYTHON)
def scale(session: nox.Session) -> None:
    """Watch replicas and nodes follow the load on a local cluster; --help lists options."""
    install(session, "dev")
    session.run("python", "-m", "loadtest.scale.command", *session.posargs, interrupt_timeout=60)


@nox.session(python=ONE_PYTHON)
def lock(session: nox.Session) -> None:
    """Resolve the dependencies anew and pin them with hashes; --upgrade takes newer versions."""
    session.install("uv")
    for name, sources in LOCK_SOURCES.items():
        session.run(
            *("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
            *("--python-version", SUPPORTED_PYTHONS[0], "--no-annotate"),
            *("--custom-compile-command", "nox -s lock"),
            *("--output-file", str(LOCKS / f"{name}.txt")),
            *sources,
            *([] if name == "serve" else ["--constraint", str(LOCKS / "serve.txt")]),
            *session.posargs,
            silent=True,
        )
