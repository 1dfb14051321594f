"""Start a service where something is missing or hostile: does it serve, and what does it say?

Some of the drills need root, for a mount namespace or a limit of memory.
"""

import contextlib
import os
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx
import psutil

from serve_app.cli.main import run
from serve_app.cli.style import ABOVE_ZERO, DIRECTORY, PORT, Command
from serve_app.errors import excerpt
from serve_app.ray_internals.nodes import REPLICA
from serve_app.runtime.ports import LOOPBACK, free_port
from serve_app.runtime.processes import ProcessError
from serve_app.runtime.signals import stopped_by_signals
from studies.drill_load import Result
from studies.drill_service import (
    NO_DASHBOARD,
    Service,
    choose,
    require_model,
    start_service,
)

RATE = 100.0
LOAD_SECONDS = 20.0
OPEN_FILES = 256
TOO_FEW_OPEN_FILES = 100
RAY_DISK = "64m"
MORE_MEMORY = 40 << 20
"""Bytes; a replica needs more."""
FULL_SECONDS = 15.0
RECOVERY_SECONDS = 90.0
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
HOSTILE = {"Origin": "http://attacker.example", "User-Agent": "Mozilla/5.0"}
"""What a browser sends for a page of somebody else."""

Fault = Callable[[Service, Path], str | None]
"""Gets the service and a directory of the drill; may return a note for the table."""


@dataclass(frozen=True)
class Drill:
    """Surroundings of a service."""

    name: str
    prefix: Sequence[str] = ()
    """Command that makes them, and runs the one that follows; ``{scratch}`` is a directory."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the service."""
    cause: Fault | None = None
    """What happens under the load, if anything."""
    dashboard: bool = False

    def run(self, words: Sequence[str], port: int, model_dir: Path, seconds: float) -> str:
        """Start a service there, load it and stop it; returns rows of the table."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            scratch = Path(directory)
            prefix = [word.replace("{scratch}", directory) for word in self.prefix]
            values = {k: v.replace("{scratch}", directory) for k, v in self.environment.items()}
            command = [w for w in words if not (self.dashboard and w == NO_DASHBOARD)]
            try:
                service, start = start_service(
                    [*prefix, *command], port, model_dir, scratch / "log", values
                )
            except ProcessError:
                text = (scratch / "log").read_text(encoding="utf-8", errors="replace")
                return Result.of(self.name, [], 0, f"does not start: {_last_line(text)}").row
            try:
                with service.load(RATE) as load:
                    notes = self.cause(service, scratch) if self.cause else None
                    time.sleep(seconds)
                result = Result.of(self.name, load.answers, 0, notes or "")
                ended = service.process.exit_code
            finally:
                stopping = time.monotonic()
                code = service.process.stop()
            stop = f"{start.notes}; stop: {time.monotonic() - stopping:.0f} s, exit code {code}"
            if ended is not None:
                stop = f"it has ended, exit code {ended}: {_last_line(service.process.log())}"
            return result.noting(stop).row


def _last_line(log: str) -> str:
    """The service's last own word."""
    own = [line for line in log.splitlines() if line.startswith(("[", "error:", "FAILED:"))]
    return excerpt((own or log.splitlines() or [""])[-1])


def fill_disk(service: Service, scratch: Path) -> str:
    """Ray's directory takes nothing more; then the replica is killed, and then there is space."""
    # The file system exists in the service's mount namespace only.
    path = Path(f"/proc/{service.process.pid}/root{scratch}/ray/fill")
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 65536):
            pass
    time.sleep(FULL_SECONDS)
    service.kill(REPLICA)
    time.sleep(FULL_SECONDS)
    path.unlink()
    return (
        f"full for {FULL_SECONDS:.0f} s, then the replica is killed; {FULL_SECONDS:.0f} s later "
        f"there is space: {_recovery(service)}"
    )


def _recovery(service: Service) -> str:
    began = time.monotonic()
    while time.monotonic() - began < RECOVERY_SECONDS and service.process.exit_code is None:
        if service.is_ready():
            return f"a replica after {time.monotonic() - began:.0f} s"
        time.sleep(0.5)
    return "no replica again"


def limit_memory(service: Service, _scratch: Path) -> str:
    """The service may have little more memory than it has; then the replica is killed."""
    group = MEMORY_GROUPS / f"drill-{os.getpid()}"
    try:
        group.mkdir()
        # What it has is counted in its old group; the limit is for what comes.
        (group / "memory.limit_in_bytes").write_text(str(MORE_MEMORY))
        for process in service.process.tree():
            (group / "cgroup.procs").write_text(str(process.pid))
    except OSError as error:
        return f"not done: {error}"
    service.kill(REPLICA)
    time.sleep(FULL_SECONDS)
    killed = (group / "memory.oom_control").read_text(encoding="ascii").split()[-1]
    for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
        with contextlib.suppress(OSError):
            (MEMORY_GROUPS / "cgroup.procs").write_text(pid)
    with contextlib.suppress(OSError):
        group.rmdir()
    return (
        f"replica killed with {MORE_MEMORY >> 20} MB left: the kernel kills {killed} more; "
        f"{FULL_SECONDS:.0f} s later there is memory: {_recovery(service)}"
    )


def attack_dashboard(service: Service, _scratch: Path) -> str:
    """A page of somebody else asks the dashboard to run code."""
    url = service.dashboard_url()
    job = {"entrypoint": "true"}
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    own = {"Authorization": f"Bearer {token.read_text(encoding='ascii').strip()}"}
    host = {"Host": "attacker.example"}
    cases = {
        "foreign origin": HOSTILE,
        "foreign host (DNS rebinding)": {**HOSTILE, **host, "Origin": "http://attacker.example"},
        "foreign origin with the token": {**HOSTILE, **own},
        "the token": own,
    }
    with httpx.Client(trust_env=False, timeout=20) as client:
        said = [
            f"{name}: {client.post(f'{url}/api/jobs/', json=job, headers=headers).status_code}"
            for name, headers in cases.items()
        ]
    return "POST /api/jobs/, " + ", ".join(said)


def soak(minutes: float) -> Fault:
    """Watch memory, open files and logs grow."""

    def cause(service: Service, _scratch: Path) -> str:
        time.sleep(20)  # what is loaded later, is loaded
        before = _sizes(service)
        time.sleep(minutes * 60)
        growth = [
            f"{name} {old:.0f} to {new:.0f}"
            for (name, old), new in zip(before.items(), _sizes(service).values(), strict=True)
        ]
        return f"{minutes:g} min: {', '.join(growth)}"

    return cause


def _sizes(service: Service) -> dict[str, float]:
    megabytes, files, log = 0.0, 0, service.process.log_file
    for process in service.process.tree():
        with contextlib.suppress(psutil.Error):
            megabytes += process.memory_full_info().uss / (1 << 20)
            files += process.num_fds()
    root = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "session_latest", "logs")  # noqa: S108
    logs = [path.stat().st_size for path in root.rglob("*") if path.is_file()]
    kilobytes = (sum(logs) + log.stat().st_size) / 1024
    return {"MB": megabytes, "open files": files, "kB of logs": kilobytes}


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server((LOOPBACK, 0), backlog=128) as server:
        yield int(server.getsockname()[1])


def spans_to(port: int) -> Mapping[str, str]:
    """Variables that send every span to a port of this machine."""
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER_ARG": "1.0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:{port}",
    }


def in_namespace(script: str) -> Sequence[str]:
    """Command that runs another one after ``script``, whose mounts nobody else sees."""
    return ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh")


def drills_of(silent_port: int, minutes: float) -> Sequence[Drill]:
    """All drills."""
    ray = {"RAY_TMPDIR": "{scratch}/ray"}
    return (
        Drill("OTLP endpoint dead", environment=spans_to(free_port())),
        Drill("OTLP endpoint never answers", environment=spans_to(silent_port)),
        Drill(f"{OPEN_FILES} open files", ("prlimit", f"--nofile={OPEN_FILES}")),
        Drill(f"{TOO_FEW_OPEN_FILES} open files", ("prlimit", f"--nofile={TOO_FEW_OPEN_FILES}")),
        Drill(
            "disk full in Ray's directory, replica killed",
            in_namespace(
                f"mkdir {{scratch}}/ray && mount -t tmpfs -o size={RAY_DISK} ray {{scratch}}/ray"
            ),
            ray,
            fill_disk,
        ),
        Drill(
            "read-only root",
            in_namespace("mount --bind /tmp /tmp && mount -o remount,bind,ro /"),
            {"HOME": "/no/home", "RAY_AUTH_TOKEN": "0" * 64},
        ),
        Drill("memory limit reached", cause=limit_memory),
        Drill("dashboard asked by a foreign page", cause=attack_dashboard, dashboard=True),
        Drill("soak", cause=soak(minutes)),
    )


@click.command(cls=Command, example="python -m studies.surroundings_drills --only OTLP")
@click.option("--model-dir", type=DIRECTORY, default=Path("model"), help="Model to serve.")
@click.option("--port", type=PORT, default=8000, help="HTTP port.")
@click.option("--command", default="serve-app serve --no-dashboard", help="Starts the service.")
@click.option("--only", "names", multiple=True, help="Only drills with this in their name.")
@click.option("--minutes", type=ABOVE_ZERO, default=60.0, help="Length of the soak.")
def drills(
    *, model_dir: Path, port: int, command: str, names: tuple[str, ...], minutes: float
) -> None:
    """Start a service in hostile surroundings, and print whether it served.

    Every drill has a new service, one after the other: eight minutes, and the soak.
    """
    model_dir = model_dir.resolve()
    words = [*shlex.split(command), f"--port={port}", f"model_dir={model_dir}"]
    with silent_server() as silent_port, stopped_by_signals():
        chosen = choose(drills_of(silent_port, minutes), names)
        require_model(model_dir)
        click.echo(Result.HEADER)
        for drill in chosen:
            click.echo(drill.run(words, port, model_dir, LOAD_SECONDS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return run(drills, arguments, name="python -m studies.surroundings_drills")


if __name__ == "__main__":
    sys.exit(main())
