r"""Does the capacity plan come true? Learn from one run, predict another, compare.

    python -m studies.capacity measure --replicas 1 --curve one.csv
    python -m studies.capacity measure --replicas 2 --curve two.csv
    python -m studies.capacity compare --learn one.csv                 # each step from the others
    python -m studies.capacity compare --learn one.csv --check two.csv

The service runs a random forest on scikit-learn, one row at a time: it saturates at a rate that
leaves the other core to the load generator, so that a small machine can measure it.
"""

import argparse
import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from bench.processes import PROJECT, BenchError, Process, free_port
from loadtest.command_line import USAGE_ERROR, Parser, find_bad_number
from loadtest.driver.curve import CurveError, Step, read_curve
from loadtest.scale.one_machine import ARGUMENTS, train_heavy_model
from loadtest.capacity.replica_model import ReplicaModel, is_steady
from loadtest.driver.scenarios import SCENARIOS
from serve_app.runtime.signals import stopped_by_signals
from serve_app.runtime.launch import sample_body
from serve_app.model.artifact import Artifact

OVERLOAD = 1.6
"""The last step's rate; one client leaves the replica idle between its requests."""

PROBE_SECONDS = 4.0
REQUEST_SECONDS = 30.0


def measure(curve: Path, *, replicas: int, peak_rps: int | None, step_seconds: float) -> None:
    """Run the `steps` scenario against a service of ``replicas``, up to ``peak_rps``.

    Without ``peak_rps``, up to `OVERLOAD` times what one client after the other gets answered.

    Raises:
        BenchError: the service does not start, or the load test does not end well.
    """
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        model, config, port = scratch / "model", scratch / "serve_config.yaml", free_port()
        train_heavy_model(model)
        config.write_text(fixed_size(PROJECT / "serve_config.yaml", replicas), encoding="utf-8")
        service = Process(
            "service",
            [
                *(sys.executable, "-m", "serve_app", "--no-dashboard"),
                *("--config", str(config), "--port", str(port), f"model_dir={model}"),
                *(f"{name}={value}" for name, value in ARGUMENTS.items()),
            ],
            logs=scratch,
        )
        with service:
            service.wait_until(lambda: "] ready" in service.log())
            if peak_rps is None:
                peak_rps = round(OVERLOAD * replicas * sequential_rps(port, model))
            ran = subprocess.run(
                [
                    *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py"),
                    *("--headless", "--only-summary", "--scenario", "steps"),
                    *("--host", f"http://localhost:{port}", "--model-dir", str(model)),
                    *("--users", str(peak_rps), "--user-rate", "1"),
                    *("--run-time", f"{step_seconds * len(SCENARIOS['steps'].stages):.0f}s"),
                    # Failures belong to a saturated service; the curve says where they begin.
                    *("--max-failure-share", "1", "--traceparent-share", "0"),
                    *("--curve", str(curve), "--curve-replicas", str(replicas)),
                ],
                cwd=PROJECT,
                capture_output=True,
                text=True,
                check=False,
            )
        if ran.returncode != 0:
            raise BenchError(f"locust ended with {ran.returncode}: {ran.stderr[-2000:]}")


def sequential_rps(port: int, model: Path) -> float:
    """Predictions per second of one client that sends one after the other."""
    body = sample_body(Artifact.open(model).card)
    connection = http.client.HTTPConnection("localhost", port, timeout=REQUEST_SECONDS)
    headers = {"content-type": "application/json"}
    started, count = time.monotonic(), 0
    while time.monotonic() - started < PROBE_SECONDS:
        connection.request("POST", "/predict/", body, headers)
        connection.getresponse().read()
        count += 1
    connection.close()
    return count / (time.monotonic() - started)


def fixed_size(config: Path, replicas: int) -> str:
    """The Serve config with ``replicas`` replicas in place of autoscaling."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    (deployment,) = content["applications"][0]["deployments"]
    deployment.pop("autoscaling_config", None)
    deployment["num_replicas"] = replicas
    return yaml.safe_dump(content)


def compare(learn: Sequence[Step], check: Sequence[Step] | None) -> str:
    """A table of what the model of ``learn`` predicts for ``check``, and what happened.

    Without ``check``, each step is predicted from the others: an observation must not predict
    itself.

    Raises:
        CurveError: a curve says too little.
    """
    for step in check or learn:
        if step.p99_ms == 0 or step.achieved_rps == 0:
            raise CurveError(
                f"the step of {step.offered_rps:g} requests/s has no right answers, or a p99 of 0 "
                "ms: there is nothing to compare with; measure it again"
            )
    whole = ReplicaModel.fit(learn)
    lines = [
        (
            f"learnt: {whole.capacity_rps:.1f} requests/s per replica, variability "
            f"{whole.variability:.2f}, p99 without a queue {whole.idle_ms(0.99):.0f} ms"
        ),
        "",
        (
            "| replicas | offered/s | achieved/s | p99 ms if one queue | p99 ms if a queue each | "
            "p99 ms observed | error of the latter |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    errors = []
    for step in check or learn:
        settled = is_steady(step, whole.capacity_rps)
        model = whole
        if check is None and settled:
            model = ReplicaModel.fit([other for other in learn if other != step])
        one_queue, queue_each = (
            model.latency_ms(0.99, replicas=step.replicas, rps=step.offered_rps, pooled=pooled)
            for pooled in (True, False)
        )
        error = queue_each / step.p99_ms - 1
        if settled:
            errors.append(abs(error))
        lines.append(
            f"| {step.replicas} | {step.offered_rps:.0f} | {step.achieved_rps:.1f} | "
            f"{one_queue:.0f} | {queue_each:.0f} | {step.p99_ms:.0f} | "
            f"{f'{error:+.0%}' if settled else 'not steady'} |"
        )
    if check is not None:
        observed = max(step.achieved_rps for step in check)
        expected = whole.saturation_rps(check[0].replicas)
        lines += [
            "",
            (
                f"saturation: predicted {expected:.1f}, observed {observed:.1f} requests/s, error "
                f"{expected / observed - 1:+.0%}"
            ),
        ]
    if errors:
        lines += [
            "",
            (
                f"p99 below saturation: mean error {sum(errors) / len(errors):.0%}, largest "
                f"{max(errors):.0%}, over {len(errors)} steps"
            ),
        ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(arguments)
    try:
        if options.command == "measure":
            with stopped_by_signals():
                measure(
                    options.curve.resolve(),
                    replicas=options.replicas,
                    peak_rps=options.peak_rps,
                    step_seconds=options.step_seconds,
                )
        else:
            check = None if options.check is None else read_curve(options.check)
            print(compare(read_curve(options.learn), check))
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return 130
    except (BenchError, CurveError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m studies.capacity",
        description="Measure saturation curves, and compare one with what another predicts.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="run the `steps` scenario; write its curve")
    measuring.add_argument("--curve", type=Path, required=True, help="CSV file to write")
    measuring.add_argument("--replicas", type=int, default=1, help="default: %(default)s")
    measuring.add_argument(
        "--peak-rps", type=int, help="rate of the last step; by default found by probing"
    )
    measuring.add_argument("--step-seconds", type=float, default=15, help="default: %(default)s")
    comparing = commands.add_parser("compare", help="predict the second curve from the first")
    comparing.add_argument("--learn", type=Path, required=True, help="curve to learn from")
    comparing.add_argument(
        "--check", type=Path, help="curve to predict; without it, each step from the others"
    )
    options = parser.parse_args(arguments)
    if options.command == "measure":
        problem = find_bad_number(
            options, above_zero=["replicas", "peak_rps"], at_least={"step_seconds": 1}
        )
        if problem is not None:
            parser.error(problem)
    return options


if __name__ == "__main__":
    sys.exit(main())
