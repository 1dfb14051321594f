"""The shell loop that runs Ray's autoscaler beside the head, run by a real shell."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kuberay.manifests import OVERLAYS, RayService, rendered
from tests.support.waiting import wait_until

DIES = "exit 3"
STAYS = "while :; do /bin/sleep 0.2; done"
SECONDS = 30


def program(path: Path, body: str) -> None:
    name = path.name
    path.write_text(
        f"#!/bin/sh\ntrap 'echo \"TERM {name}\" >> log; exit' TERM\n"
        f'echo "{name} $*" >> log\n{body}\n',
        encoding="utf-8",
    )
    path.chmod(0o755)


@contextlib.contextmanager
def sidecar(directory: Path, overlay: str) -> Iterator["subprocess.Popen[str]"]:
    """The container's command line, with a ``PATH`` that begins with ``directory``."""
    options = RayService(rendered(overlay)).cluster["autoscalerOptions"]
    with subprocess.Popen(
        [*options["command"], *options["args"]],
        cwd=directory,
        env={
            "PATH": f"{directory}:{os.defpath}",
            "KUBERAY_GEN_AUTOSCALER_START_CMD": "autoscaler --cluster-name classifier",
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def lines(directory: Path) -> list[str]:
    log = directory / "log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_autoscaler_that_ends_is_started_again(overlay: str, tmp_path: Path) -> None:
    """After a pause each time, with the command that KubeRay made; the log says why."""
    third = f"if [ $(grep -c cluster-name log) -lt 3 ]; then {DIES}; fi; {STAYS}"
    program(tmp_path / "autoscaler", third)
    program(tmp_path / "sleep", "")
    with sidecar(tmp_path, overlay) as process:
        expected = ["autoscaler --cluster-name classifier", "sleep 5"] * 2
        wait_until(lambda: len(lines(tmp_path)) > len(expected), SECONDS)
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert lines(tmp_path)[: len(expected) + 1] == [*expected, expected[0]]
        assert process.stderr is not None
        words = "the autoscaler ended with exit code 3; it starts again in 5 s"
        assert process.stderr.read().splitlines()[:2] == [words] * 2


@pytest.mark.parametrize(
    ("autoscaler", "pause", "running"), [(STAYS, "", "autoscaler"), (DIES, STAYS, "sleep")]
)
def test_sigterm_ends_it_at_once(autoscaler: str, pause: str, running: str, tmp_path: Path) -> None:
    """Whatever it waits for gets the signal; the loop itself does not wait for that."""
    program(tmp_path / "autoscaler", autoscaler)
    program(tmp_path / "sleep", pause)
    with sidecar(tmp_path, OVERLAYS[0]) as process:
        wait_until(lambda: any(line.startswith(f"{running} ") for line in lines(tmp_path)), SECONDS)
        process.terminate()
        assert process.wait(SECONDS) == 0
        wait_until(lambda: f"TERM {running}" in lines(tmp_path), SECONDS)
