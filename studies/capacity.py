"""Compare the capacity plan with measurements: learn from one curve, predict another.

The service runs a random forest on scikit-learn, one row at a time: it saturates at a rate that
leaves the other core to the load generator, so that a small machine can measure it.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import yaml

from loadtest.capacity.replica_model import ReplicaModel, is_steady
from loadtest.driver.curve import Step, read_curve
from loadtest.driver.locust_run import Load, LocustRun
from loadtest.driver.scenarios import SCENARIOS
from loadtest.scale.one_machine import ARGUMENTS, train_heavy_model
from serve_app.cli.main import run
from serve_app.cli.style import COUNT, FILE, Group, Number, config_option, markdown_table
from serve_app.client import ServiceClient
from serve_app.errors import UserError
from serve_app.runtime.ports import free_port
from serve_app.runtime.processes import LOG_TAIL
from serve_app.runtime.processes import Command as Process
from serve_app.runtime.signals import stopped_by_signals
from serve_app.serve_config import ServeConfig, find_config

SCENARIO = "steps"
OVERLOAD = 1.6
"""The last step's rate over that of one client, which leaves the replica idle between requests."""
PROBE_SECONDS = 4.0
START_SECONDS = 120.0
REQUEST_SECONDS = 30.0
SLACK_SECONDS = 60.0
"""Locust may take so much longer than its load."""


@click.group(cls=Group)
def capacity() -> None:
    """Measure saturation curves, and compare one with what another predicts."""


@capacity.command(example="python -m studies.capacity measure --replicas 2 --curve two.csv")
@click.option("--curve", type=FILE, required=True, help="CSV file to write.")
@click.option("--replicas", type=COUNT, default=1, help="Replicas that serve.")
@click.option("--peak-rps", type=COUNT, help="Rate of the last step; by default found by probing.")
@click.option("--step-seconds", type=Number(min=1), default=15.0, help="Length of a step.")
@config_option
def measure(
    *,
    curve: Path,
    replicas: int,
    peak_rps: int | None,
    step_seconds: float,
    config_file: Path | None,
) -> None:
    """Run the scenario steps against a service of a fixed size, and write its curve."""
    config = ServeConfig.read(find_config(config_file)).override(
        deployment={"autoscaling_config": None, "num_replicas": replicas}
    )
    with stopped_by_signals(), tempfile.TemporaryDirectory() as directory:
        scratch, port = Path(directory), free_port()
        model, fixed = scratch / "model", scratch / "serve_config.yaml"
        train_heavy_model(model)
        fixed.write_text(yaml.safe_dump(dict(config.document)), encoding="utf-8")
        url = f"http://localhost:{port}"
        command = [
            *(sys.executable, "-m", "serve_app", "serve", "--no-dashboard"),
            *("--config", str(fixed), "--port", str(port), f"model_dir={model}"),
            *(f"{name}={value}" for name, value in ARGUMENTS.items()),
        ]
        with Process(command, log=scratch / "service.log", stop_seconds=60.0) as service:
            service.wait_until(lambda: "] ready" in service.log(), START_SECONDS)
            peak_rps = peak_rps or round(OVERLOAD * replicas * sequential_rps(url))
            load = Load(
                SCENARIO,
                users=peak_rps,
                seconds=step_seconds * len(SCENARIOS[SCENARIO].stages),
                user_rate=1.0,
                host=url,
                model_dir=model,
                options={
                    "traceparent_share": 0,
                    # Failures belong to a saturated service; the curve has where they begin.
                    "max_failure_share": 1,
                    "curve": curve.resolve(),
                    "curve_replicas": replicas,
                },
            )
            with LocustRun(load, scratch) as locust:
                locust.wait_until(
                    lambda: locust.exit_code is not None, load.seconds + SLACK_SECONDS
                )
                locust.check_accepted()
                if locust.exit_code != 0:
                    end = locust.log()[-LOG_TAIL:]
                    raise UserError(f"Locust ended with {locust.exit_code}: {end}")


@capacity.command(example="python -m studies.capacity compare --learn one.csv --check two.csv")
@click.option("--learn", type=FILE, required=True, help="Curve to learn from.")
@click.option("--check", type=FILE, help="Curve to predict; without it, each step from the others.")
def compare(*, learn: Path, check: Path | None) -> None:
    """Predict the second curve from the first, and show the errors."""
    click.echo(comparison(read_curve(learn), read_curve(check) if check else None))


def sequential_rps(url: str) -> float:
    """Predictions per second of one client that sends one after the other."""
    with ServiceClient(url, timeout_seconds=REQUEST_SECONDS) as client:
        example = client.card().example
        started, count = time.monotonic(), 0
        while time.monotonic() - started < PROBE_SECONDS:
            client.predict(example)
            count += 1
        return count / (time.monotonic() - started)


def comparison(learn: Sequence[Step], check: Sequence[Step] | None) -> str:
    """A table of what the model of ``learn`` predicts for ``check``, and what happened.

    Without ``check``, each step is predicted from the others: an observation must not predict
    itself.

    Raises:
        UserError: a curve has too few usable steps.
    """
    for step in check or learn:
        if step.p99_ms == 0 or step.achieved_rps == 0:
            raise UserError(
                f"the step of {step.offered_rps:g} requests/s has no right answers, or a p99 of 0 "
                "ms: there is nothing to compare with; measure it again"
            )
    whole = ReplicaModel.fit(learn)
    learnt = (
        f"learnt: {whole.capacity_rps:.1f} requests/s per replica, variability "
        f"{whole.variability:.2f}, p99 without a queue {whole.idle_ms(0.99):.0f} ms"
    )
    rows, errors = [], []
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
        rows.append(
            {
                "replicas": step.replicas,
                "offered/s": f"{step.offered_rps:.0f}",
                "achieved/s": f"{step.achieved_rps:.1f}",
                "p99 ms if one queue": f"{one_queue:.0f}",
                "p99 ms if a queue each": f"{queue_each:.0f}",
                "p99 ms observed": f"{step.p99_ms:.0f}",
                "error of the latter": f"{error:+.0%}" if settled else "not steady",
            }
        )
    parts = [learnt, markdown_table(rows)]
    if check is not None:
        observed = max(step.achieved_rps for step in check)
        expected = whole.saturation_rps(check[0].replicas)
        parts.append(
            f"saturation: predicted {expected:.1f}, observed {observed:.1f} requests/s, error "
            f"{expected / observed - 1:+.0%}"
        )
    if errors:
        parts.append(
            f"p99 below saturation: mean error {sum(errors) / len(errors):.0%}, largest "
            f"{max(errors):.0%}, over {len(errors)} steps"
        )
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(run(capacity, name="python -m studies.capacity"))
