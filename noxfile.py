"""Everything that is done to this project: ``nox -l`` lists it, ``nox`` alone checks it."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nox

ENVIRONMENT = Path(".venv")
"""Where users have every command; the other sessions have environments below .nox."""
GITHUB = Path(".github")
LOCKS = Path("locks")
BUILD = ["--group", "build"]
LOCK_SOURCES = {
    # What serves, and nothing else: the container image installs it.
    "serve": ["pyproject.toml"],
    # And the libraries of models that their estimators serve: another container image installs it.
    "engines": ["pyproject.toml", "--extra", "engines"],
    # What packages a model and builds the project itself.
    "package": ["pyproject.toml", "--extra", "package", *BUILD],
    # What a delivery needs: rendering, rolling out, checking.
    "kubernetes": ["pyproject.toml", "--extra", "kubernetes", *BUILD],
    # Every command.
    "all": ["pyproject.toml", "--extra", "all", *BUILD],
    "lint": ["--group", "lint"],
    "docs": ["--group", "docs"],
    "release": ["--group", "release", *BUILD],
    "dev": ["pyproject.toml", "--extra", "all", "--extra", "engines", *BUILD, "--group", "dev"],
    # Other model servers, which `bench --peers` measures.
    "peers-mlserver": ["--group", "peers-mlserver"],
    "peers-bentoml": ["--group", "peers-bentoml"],
    "peers-kserve": ["--group", "peers-kserve"],
    "peers-litserve": ["--group", "peers-litserve"],
    "peers-mlflow": ["--group", "peers-mlflow"],
}
PEERS = tuple(name for name in LOCK_SOURCES if name.startswith("peers-"))
PEERS_WITH_CLIENTS = ("peers-kserve", "peers-mlserver")
"""Triton's clients are in MLServer's environment."""
PEERS_PYTHONS = ("3.11", "3.12")
"""MLServer 1.7.1, the newest, says ``requires-python = ">=3.9,<3.13"``."""
SHARED_WITH_PEERS = ("joblib", "numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl")
"""Packages that load the same model file everywhere, so in the same version."""
NOT_SHARED = {"peers-kserve": "pandas"}
"""KServe 0.21, the newest, says ``pandas<3``; no model file has anything of pandas in it."""

SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13")
PREFERRED_PYTHON = "3.12"
"""Serves about a tenth faster than its neighbours; the container image has it too."""
RUNNING_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ONE_PYTHON = RUNNING_PYTHON if RUNNING_PYTHON in SUPPORTED_PYTHONS else PREFERRED_PYTHON
"""For sessions that need no particular version: whichever is there already."""

SERVICE_TESTS = "tests/service"
TESTED_ONCE = [
    *("tests/bench", "tests/deploy", "tests/kuberay", "tests/loadtest", "tests/studies"),
    *("tests/http", "tests/runtime"),
    # Estimators beside their compiled forms: their libraries decide what these answer.
    *("tests/packaging", "tests/test_examples.py"),
    SERVICE_TESTS,
]
"""Minutes of starting services and tools and of fitting, which another Python would not change."""
PARALLEL = ("--numprocesses=3", "--dist=worksteal")
"""One more than a small machine has cores: tests of loads and proxies wait most of the time."""
SIDE_BY_SIDE = ("--numprocesses=2", "--dist=loadfile")
"""Services start and drain slowly, but compute little; tests of one file share a service."""
COVERAGE_FLOOR = 92
"""Percent of branches and lines, of the tests that run in the same process."""
STUDIES = ("capacity", "policies")


def is_installed(version: str) -> bool:
    """Whether that Python starts here; pyenv has commands for versions that do not."""
    command = shutil.which(f"python{version}")
    if command is None:
        return False
    done = subprocess.run([command, "-c", ""], check=False, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def oldest_and_newest() -> list[str]:
    """The supported Pythons to test with, of those that this machine has; uv may fetch any."""
    downloads = os.environ.get("UV_PYTHON_DOWNLOADS", "automatic")
    fetches = shutil.which("uv") is not None and downloads != "never"
    usable = [version for version in SUPPORTED_PYTHONS if fetches or is_installed(version)]
    return list(dict.fromkeys([usable[0], usable[-1]])) if usable else [PREFERRED_PYTHON]


TESTED_PYTHONS = oldest_and_newest()

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "docs", "tests"]
# Tests that did not run must not look like tests that passed.
nox.options.error_on_missing_interpreters = True


def install(session: nox.Session, lock: str) -> None:
    """Install exactly what a lock says, hashes checked, and the project itself."""
    # Ray starts a dozen Python processes: bytecode made once halves the start of each.
    session.env["UV_COMPILE_BYTECODE"] = "1"
    session.env["RAY_USAGE_STATS_ENABLED"] = "0"
    session.install("--require-hashes", "-r", str(LOCKS / f"{lock}.txt"))
    session.install("--no-deps", "--no-build-isolation", "-e", ".")


def make_environment(
    session: nox.Session,
    environment: Path = ENVIRONMENT,
    lock_name: str = "all",
    *,
    with_project: bool = True,
) -> None:
    """Make an environment from a lock, unless it is up to date already."""
    lock, python = LOCKS / f"{lock_name}.txt", environment / "bin" / "python"
    sources = lock.read_bytes() + (Path("pyproject.toml").read_bytes() if with_project else b"")
    expected, stamp = hashlib.sha256(sources).hexdigest(), environment / "installed.sha256"
    if stamp.exists() and stamp.read_text(encoding="ascii") == expected:
        return
    session.log(f"installing {lock} into {environment}; it takes a minute or two")
    session.env["UV_COMPILE_BYTECODE"] = "1"
    if not python.exists():
        virtualenv = (sys.executable, "-m", "virtualenv", "--quiet", f"--python={ONE_PYTHON}")
        session.run_install(*virtualenv, str(environment), external=True)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if shutil.which("uv") is not None:
        pip = ["uv", "pip", "install", f"--python={python}"]
    session.run_install(*pip, "--require-hashes", f"--requirement={lock}", external=True)
    if with_project:
        project = ("--no-deps", "--no-build-isolation", "--editable", ".")
        session.run_install(*pip, *project, external=True)
    stamp.write_text(expected, encoding="ascii")


def make_peers(session: nox.Session, names: Sequence[str]) -> None:
    """Make the environments of other model servers, each of the lock of its name."""
    if ONE_PYTHON not in PEERS_PYTHONS:
        usable = " or ".join(PEERS_PYTHONS)
        session.error(f"MLServer is not for Python {ONE_PYTHON}; run nox with Python {usable}")
    for name in names:
        make_environment(session, Path(".nox") / name, name, with_project=False)


@nox.session(name="install", python=False)
def install_environment(session: nox.Session) -> None:
    """Make the environment .venv, in which every command works."""
    make_environment(session)
    session.log(f"next: source {ENVIRONMENT}/bin/activate && serve-app --help")


@nox.session(python=False)
def serve(session: nox.Session) -> None:
    """Make .venv, train on Iris if there is no model, and serve it: key=value ..."""
    make_environment(session)
    command = str(ENVIRONMENT / "bin" / "serve-app")
    session.run(command, "train", "--if-missing", external=True)
    if "--install-only" in sys.argv:
        return
    # Replaces nox, which would die of SIGTERM and leave the service behind.
    environment = {
        **os.environ,
        "PATH": f"{ENVIRONMENT.absolute()}/bin{os.pathsep}{os.environ['PATH']}",
    }
    # It is not active in the user's shell; the service then says how to activate it.
    environment.pop("VIRTUAL_ENV", None)
    os.execve(command, [command, "serve", *session.posargs], environment)


@nox.session(python=TESTED_PYTHONS)
def tests(session: nox.Session) -> None:
    """Run every test on the newest Python, the package's own on the oldest; arguments: pytest's."""
    install(session, "dev")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    measured = ("--cov", "--cov-report=", "--cov-append")
    if session.python != TESTED_PYTHONS[-1]:
        session.run("pytest", *PARALLEL, *(f"--ignore={path}" for path in TESTED_ONCE))
        return
    Path(".coverage").unlink(missing_ok=True)
    session.run("pytest", *PARALLEL, *measured, f"--ignore={SERVICE_TESTS}")
    # Each of these services has a core to itself.
    session.run("pytest", *SIDE_BY_SIDE, *measured, SERVICE_TESTS)
    session.run("coverage", "report", f"--fail-under={COVERAGE_FLOOR}")


@nox.session(python=ONE_PYTHON)
def lint(session: nox.Session) -> None:
    """Check style and form of the code, and that the workflows are valid and safe."""
    session.install("--require-hashes", "-r", str(LOCKS / "lint.txt"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": "."})
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
    if "--peers" in session.posargs:
        make_peers(session, PEERS)
    install(session, "dev")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(python=False)
def scale(session: nox.Session) -> None:
    """Watch replicas and nodes follow the load on a local cluster; --help lists options."""
    make_environment(session)
    command = (str(ENVIRONMENT / "bin" / "serve-app"), "scale", *session.posargs)
    session.run(*command, external=True, interrupt_timeout=60)


@nox.session(python=ONE_PYTHON)
def study(session: nox.Session) -> None:
    """Repeat the experiment of a decision record, capacity or policies; --help lists options."""
    install(session, "dev")
    name, *arguments = session.posargs or [""]
    if name not in STUDIES:
        session.error(f"name one of {', '.join(STUDIES)}, then its options")
    session.run("python", "-m", f"studies.{name}", *arguments, interrupt_timeout=60)


@nox.session(python=ONE_PYTHON)
def drill(session: nox.Session) -> None:
    """Break a running service, one fault at a time, and count what clients notice; minutes."""
    install(session, "dev")
    session.run("serve-app", "train", "--if-missing")
    session.run("python", "-m", "studies.drills", *session.posargs, interrupt_timeout=60)


@nox.session(python=ONE_PYTHON)
def clients(session: nox.Session) -> None:
    """Ask a service with the clients of Triton, KServe and MLServer; --help lists options."""
    make_peers(session, PEERS_WITH_CLIENTS)
    install(session, "dev")
    session.run("python", "-m", "studies.clients", *session.posargs, interrupt_timeout=60)


@nox.session(python=ONE_PYTHON)
def e2e(session: nox.Session) -> None:
    """Deploy on a cluster, load, scale, upgrade and break it: --context NAME; --help lists more."""
    install(session, "dev")
    session.run("python", "-m", "studies.e2e", *session.posargs, interrupt_timeout=60)


@nox.session(python=ONE_PYTHON)
def generate(session: nox.Session) -> None:
    """Write again what follows from other files: manifests' patches, the README's figures."""
    install(session, "dev")
    session.run("serve-app", "k8s", "render")
    session.run("python", "-m", "bench.readme")


@nox.session(python=ONE_PYTHON)
def lock(session: nox.Session) -> None:
    """Resolve the dependencies anew and pin them with hashes; --upgrade takes newer versions."""
    session.install("uv")
    for name, sources in LOCK_SOURCES.items():
        constraints = LOCKS / "serve.txt"
        if name in PEERS:
            # Only what they share: their web servers have needs of their own.
            constraints = Path(session.create_tmp()) / "shared.txt"
            shared = [each for each in SHARED_WITH_PEERS if each != NOT_SHARED.get(name)]
            pins = re.findall(
                rf"^(?:{'|'.join(shared)})==[^\\\n]*",
                (LOCKS / "dev.txt").read_text(encoding="utf-8"),
                re.MULTILINE,
            )
            constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
        session.run(
            *("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
            *("--python-version", SUPPORTED_PYTHONS[0], "--no-annotate"),
            *("--custom-compile-command", "nox -s lock"),
            *("--output-file", str(LOCKS / f"{name}.txt")),
            *sources,
            *([] if name == "serve" else ["--constraint", str(constraints)]),
            *session.posargs,
            silent=True,
        )


@nox.session(python=ONE_PYTHON)
def docs(session: nox.Session) -> None:
    """Build the documentation into build/site, strictly; with --serve, show it."""
    session.install("--require-hashes", "-r", str(LOCKS / "docs.txt"))
    session.run("python", "-m", "docs.generate")
    if "--serve" in session.posargs:
        session.run("zensical", "serve", "--dev-addr", "localhost:8001")
        return
    session.run("zensical", "build", "--strict", "--clean")
    session.run("python", "-m", "docs.check_site")


@nox.session(python=ONE_PYTHON)
def release(session: nox.Session) -> None:
    """Build what a tag vX.Y.Z releases into dist/: wheel, bill of materials, notes."""
    session.install("--require-hashes", "-r", str(LOCKS / "release.txt"))
    described = session.run("python", "-m", "hatchling", "version", silent=True)
    version = str(described).strip().splitlines()[-1]
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        session.error(f"version {version} is not a release; tag a clean commit: git tag vX.Y.Z")
    text = Path("CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## \[|\Z)", text, re.MULTILINE | re.DOTALL
    )
    if section is None:
        session.error(f"CHANGELOG.md has no section [{version}]; rename [Unreleased]")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "hatchling", "build", "--target", "wheel")
    bill = f"dist/serve-app-{version}.cdx.json"
    session.run("cyclonedx-py", "requirements", str(LOCKS / "serve.txt"), "--output-file", bill)
    Path("dist/notes.md").write_text(section[1].strip() + "\n", encoding="utf-8")
