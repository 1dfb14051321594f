"""The exporting process, as its parent sees it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from serve_app.telemetry.plain_spans import PlainSpan
from serve_app.tracing.exporters import ENDPOINT_VARIABLE
from serve_app.tracing.frames import BROKEN, PRINTED, UNUSABLE, Report, report_in, write_spans
from tests.support.cloud_trace import CloudTrace, name_of
from tests.support.waiting import wait_until

CHILD = [sys.executable, "-m", "serve_app.tracing.child"]
NOT_NEEDED = ("ray", "sklearn", "onnxruntime", "numpy", "pandas", "starlette")


def span_named(name: str) -> PlainSpan:
    return (name, "test", "", 0, 1, 2, 1, "", None, 1, 2, ({"a": 1},), (), 0, None)


def to(server: CloudTrace) -> dict[str, str]:
    return {
        "OTEL_TRACES_EXPORTER": "gcp_trace",
        "GOOGLE_CLOUD_PROJECT": "my-project",
        ENDPOINT_VARIABLE: server.endpoint,
    }


class Child:
    """The process; a context manager."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            CHILD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        assert self.process.stdin is not None
        self.input = self.process.stdin

    def send(self, *names: str) -> None:
        write_spans(self.input, [span_named(name) for name in names])

    def hear(self) -> Report:
        assert self.process.stdout is not None
        return report_in(self.process.stdout.readline().decode())

    def end(self) -> tuple[list[Report], str]:
        """End its input; what it reports and prints until it has ended."""
        out, error = self.process.communicate(timeout=60)
        return [report_in(line) for line in out.decode().splitlines()], error.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def child(cloud_trace: CloudTrace) -> Iterator[Child]:
    """One that exports to a local Cloud Trace."""
    with Child(to(cloud_trace)) as running:
        yield running


def test_each_frame_is_exported_and_reported(child: Child, cloud_trace: CloudTrace) -> None:
    """As soon as it comes; the process ends well with its input."""
    child.send("one", "two")
    assert child.hear() == Report("exported", 2)
    child.send("three")
    assert child.hear() == Report("exported", 1)
    assert child.end() == ([], "")
    assert child.process.returncode == 0
    assert [name_of(span) for span in cloud_trace.spans] == ["one", "two", "three"]


def test_signals_do_not_end_it(child: Child, cloud_trace: CloudTrace) -> None:
    """They are for its parent, which may still send spans; what is left goes out at the end."""
    child.send("before")
    child.hear()
    for number in (signal.SIGINT, signal.SIGTERM):
        child.process.send_signal(number)
    for name in ("two", "three", "four"):
        child.send(name)
    reports, _ = child.end()
    assert reports == [Report("exported", 1)] * 3
    assert len(cloud_trace.spans) == 4


def test_a_parent_that_is_killed_leaves_nothing_behind(
    cloud_trace: CloudTrace, tmp_path: Path
) -> None:
    """Its last spans arrive, and then the process ends though nobody hears it."""
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, signal, subprocess, sys\n"
        "from serve_app.tracing.frames import write_spans\n"
        f"child = subprocess.Popen({CHILD!r}, stdin=-1, stdout=-1)\n"
        f"write_spans(child.stdin, [{span_named('last')!r}])\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, **to(cloud_trace)},
        stdout=subprocess.PIPE,
        check=False,
    )
    process = Path("/proc") / parent.stdout.decode().strip() / "cmdline"
    wait_until(lambda: not process.exists() or b"tracing.child" not in process.read_bytes())
    assert [name_of(span) for span in cloud_trace.spans] == ["last"]


def without_spans(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that changes something of the child and starts it, with an empty input."""
    return subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_exporter_that_hangs_is_given_up_at_the_end(
    cloud_trace: CloudTrace, tmp_path: Path
) -> None:
    """The end of the input has a bound, whatever a library does."""
    program = (
        "import sys, threading\n"
        "from serve_app.tracing import child, exporters\n"
        "child.END_SECONDS = 0.1\n"
        "exporters.make_exporter = lambda _: threading.Event().wait()\n"
        "child.main()\n"
    )
    assert without_spans(program).returncode == 1


@pytest.mark.parametrize(
    ("environment", "cause", "fix"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "'zipkin' is unknown", "use one of gcp_trace"),
        (
            {"OTEL_TRACES_EXPORTER": "gcp_trace", "GOOGLE_APPLICATION_CREDENTIALS": "/none.json"},
            "OTEL_TRACES_EXPORTER=gcp_trace cannot be used",
            "run `gcloud auth application-default login`",
        ),
    ],
)
def test_an_exporter_that_cannot_be_made(environment: dict[str, str], cause: str, fix: str) -> None:
    """It is said before the first span, and for each span that is lost."""
    with Child(environment) as child:
        first = child.hear()
        assert first.kind == UNUSABLE
        assert cause in first.text
        assert first.fix.startswith(fix)
        child.send("lost", "too")
        (second,), _ = child.end()
        assert second == first._replace(kind="failed", spans=2)


def test_what_an_exporter_prints_is_reported() -> None:
    """``console`` prints spans; the output of this process is for reports."""
    with Child({"OTEL_TRACES_EXPORTER": "console"}) as child:
        child.send("shown")
        reports, error = child.end()
    printed = "".join(report.text for report in reports if report.kind == PRINTED)
    assert json.loads(printed)["name"] == "shown"
    assert reports[-1] == Report("exported", 1)
    assert error == ""


def test_a_span_that_is_none_fails_alone() -> None:
    """The next frame is exported."""
    with Child({"OTEL_TRACES_EXPORTER": "console"}) as child:
        write_spans(child.input, [("not", "a", "span")])  # type: ignore[list-item]
        failed = child.hear()
        assert (failed.kind, failed.spans) == ("failed", 1)
        assert failed.text.startswith("ValueError: ")
        child.send("shown")
        reports, _ = child.end()
    assert reports[-1] == Report("exported", 1)


def test_an_error_of_its_own_is_reported() -> None:
    """Its parent has no other way to learn it: what it writes to standard error is discarded."""
    program = (
        "from serve_app.tracing import child, conversion\n"
        "conversion.Sdk = lambda: 1 / 0\n"
        "child.main()\n"
    )
    ended = without_spans(program, OTEL_TRACES_EXPORTER="console")
    assert ended.returncode == 1
    assert report_in(ended.stdout) == Report(BROKEN, text="ZeroDivisionError: division by zero")


def test_it_imports_nothing_that_a_model_needs(cloud_trace: CloudTrace) -> None:
    """It is beside each replica: memory and start of one that has Ray and NumPy would be felt."""
    program = (
        "import sys\n"
        "from serve_app.tracing.child import main\n"
        "main()\n"
        f"sys.stderr.write(str(sorted(set({NOT_NEEDED}) & set(sys.modules))))\n"
    )
    for environment in (to(cloud_trace), {"OTEL_TRACES_EXPORTER": "otlp"}):
        assert without_spans(program, **environment).stderr == "[]"
