"""Goals are judged by rounds, and the report says all that was measured."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench import report
from bench.goals import goal_results
from bench.readme import newest_run
from bench.stats import Measurement


def throughput(
    system: str, rates: dict[int, float], failures: float = 0, **more: float
) -> list[Measurement]:
    """Requests/s at 32 connections, by round."""
    return [
        Measurement(
            "throughput-32",
            system,
            number,
            {"rate": rate, "p50_ms": 1.0, "p99_ms": 2.0, "failures": failures, **more},
        )
        for number, rate in rates.items()
    ]


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ({1: 240.0, 2: 480.0}, "reached"),
        ({1: 220.0, 2: 440.0}, "NOT reached"),
        ({1: 220.0, 2: 490.0}, "reached (range crosses it)"),
    ],
)
def test_a_goal_is_judged_by_its_median(ours: dict[int, float], verdict: str) -> None:
    """The range over the rounds says how surely it is reached."""
    ceiling = throughput("ceiling", {1: 100.0, 2: 200.0})
    ((goal, found),) = goal_results([*throughput("ours-lr-onnx", ours), *ceiling])
    assert goal.limit == 2.3
    assert goal.verdict(found) == verdict


def test_processor_time_is_compared_with_the_floors() -> None:
    """A replica's, and everything's, with all that the floor uses."""
    goals = goal_results(
        [
            *throughput("ours-lr-onnx", {1: 1.0}, cpu_us=70.0, cpu_replica_us=45.0),
            *throughput("floor", {1: 1.0}, cpu_us=20.0),
        ]
    )
    assert [found.median for _, found in goals] == [2.25, 3.5]
    assert [goal.verdict(found) for goal, found in goals] == ["NOT reached", "NOT reached"]


def test_only_what_was_measured_is_shown() -> None:
    """Tables and columns of measures that were left out are left out; failures are named."""
    measurements = [
        *throughput("ours-lr-onnx", {1: 90.0}),
        *throughput("ceiling", {1: 100.0}),
        *throughput("tuned-lr", {1: 50.0}, failures=3),
    ]
    text = report.render(measurements, report.machine())
    assert "| ours-lr-onnx | 90.0 (90.0 to 90.0)" in text
    assert "0.90 (0.90 to 0.90)" in text
    assert "3 requests failed**: throughput-32, tuned-lr" in text
    assert "ratio to predecessor" not in text
    assert "Start and memory" not in text
    assert report.count_failures(measurements) == 3


def test_goals_of_typed_columns_and_boosted_trees() -> None:
    """They are judged beside Iris and the predecessor of the same round, and by a call's time."""
    measurements = [
        *throughput("ours-lr-onnx", {1: 1000.0}),
        *throughput("ours-mixed-onnx", {1: 650.0}),
        *throughput("predecessor-mixed", {1: 30.0}),
        Measurement("calls", "compiled-hgb", 1, {"us": 99.0, "rate": 1e4, "rows_per_second": 1.0}),
    ]
    verdicts = {goal.limit: goal.verdict(found) for goal, found in goal_results(measurements)}
    assert verdicts == {0.7: "NOT reached", 20: "reached", 100: "reached"}


def test_peers_and_processor_time_are_columns() -> None:
    """Each system's ratio to a peer with the same model, and its time per request."""
    measurements = [
        *throughput("ours-mixed-onnx", {1: 90.0}, cpu_us=250.0),
        *throughput("mlserver-mixed", {1: 30.0}, cpu_us=900.0),
        *throughput("bentoml-lr", {1: 1.0}, cpu_us=900.0),
    ]
    text = report.render(measurements, report.machine())
    (ours,) = [line for line in text.splitlines() if line.startswith("| ours-mixed-onnx")]
    assert "| 250 (250 to 250)" in ours
    assert "| 3.00 (3.00 to 3.00) |" in ours
    assert "- `mlserver-*`: " in text
    assert "- `*-mixed*`: " in text
    assert "- CPU: " in text
    assert "predecessor" not in text
    assert "- CPU: " not in report.render(throughput("ceiling", {1: 1.0}), report.machine())


def test_protocols_are_beside_each_other() -> None:
    """Ours beside /predict/ and MLServer's of the same round; what calls gRPC is said."""
    rates = {"ours-predict": 10.0, "ours-v2": 9.5, "ours-grpc": 8.0, "mlserver-grpc": 4.0}
    measurements = [
        replace(measured, measure="protocols-32")
        for server, rate in rates.items()
        for measured in throughput(f"{server}-lr", {1: rate})
    ]
    rows = {"rate": 2e6, "p50_ms": 1.0, "p99_ms": 1.0, "failures": 0.0}
    measurements.append(Measurement("protocols-batch", "ours-binary-lr", 1, rows))
    verdicts = {goal.limit: goal.verdict(found) for goal, found in goal_results(measurements)}
    assert verdicts == {0.9: "reached", 1_000_000: "reached", 4: "NOT reached"}
    text = report.render(measurements, report.machine())
    assert "## Protocols, single rows, 32 connections" in text
    assert "## Protocols, 1,000 rows per request, 8 connections" in text
    (ours,) = [line for line in text.splitlines() if line.startswith("| ours-grpc-lr")]
    assert "| 0.80 (0.80 to 0.80)" in ours
    assert "| 2.00 (2.00 to 2.00)" in ours
    assert "h2load" in text


def test_the_kept_run_is_shown_as_it_was(tmp_path: Path) -> None:
    """Its tables and goals follow from its measurements, every one of them."""
    run = json.loads(newest_run().read_text(encoding="utf-8"))
    measurements = [Measurement(**each) for each in run["samples"]]
    path = report.write(tmp_path, measurements, run["machine"], run["settings"])
    assert json.loads(path.read_text(encoding="utf-8")) == run
    shown = path.with_suffix(".md").read_text(encoding="utf-8")
    assert shown == newest_run().with_suffix(".md").read_text(encoding="utf-8")
    assert [asdict(each) for each in measurements] == run["samples"]
