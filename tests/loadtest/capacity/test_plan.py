"""The plan is the smallest that meets its targets, and bad input is refused in one line."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.sizes import Sizes
from loadtest.capacity.plan import fewest_replicas, plan
from loadtest.driver.curve import write_curve
from serve_app.cli.main import main
from serve_app.errors import UserError
from tests.loadtest.capacity.test_replica_model import MODEL, curve_of
from tests.support.command_lines import refused

SIZES = Sizes(replica_cpus=1, worker_cpus=3, node_vcpus=4, vcpu_hour_price=0.05)

rates = st.floats(0.1, 50_000)
limits = st.floats(16, 200)


@settings(max_examples=50)
@given(rates, limits)
def test_fewest(rps: float, p99_ms: float) -> None:
    """The replicas found reach the target; one less does not."""
    count = fewest_replicas(MODEL, rps=rps, p99_ms=p99_ms)
    assert MODEL.latency_ms(0.99, replicas=count, rps=rps, pooled=False) <= p99_ms
    if count > 1:
        assert MODEL.latency_ms(0.99, replicas=count - 1, rps=rps, pooled=False) > p99_ms


@settings(max_examples=50)
@given(rates, rates, limits, limits)
def test_more_is_asked_more_is_needed(
    one_rate: float, other_rate: float, one_limit: float, other_limit: float
) -> None:
    """Replicas grow with the rate and with the strictness of the p99."""
    less, more = sorted((one_rate, other_rate))
    strict, lax = sorted((one_limit, other_limit))
    assert fewest_replicas(MODEL, rps=less, p99_ms=lax) <= fewest_replicas(
        MODEL, rps=more, p99_ms=strict
    )


def test_worked_example() -> None:
    """1,000 requests/s: 17 replicas at 60 %, 6 pods of 3, 6 nodes and the head's, at 0.05."""
    planned = plan(MODEL, SIZES, rps=1000, p99_ms=80, cpu_target=0.6)
    assert planned.replicas_for_cpu == 17
    assert planned.replicas_for_p99 == 16
    assert (planned.replicas, planned.workers, planned.nodes) == (17, 6, 7)
    assert planned.utilisation == pytest.approx(1000 / 1700)
    assert planned.cost_per_million == pytest.approx(7 * 4 * 0.05 / 3.6)


def test_the_p99_may_decide() -> None:
    """A p99 near the time without a queue takes more replicas than the CPU target."""
    planned = plan(MODEL, SIZES, rps=1000, p99_ms=20, cpu_target=0.9)
    assert planned.replicas == planned.replicas_for_p99 > planned.replicas_for_cpu


def test_too_fast_a_target() -> None:
    """A p99 below the time of an idle replica is out of reach, and the message says why."""
    with pytest.raises(UserError, match="no number of replicas reaches a p99 of 11 ms: it takes"):
        fewest_replicas(MODEL, rps=10, p99_ms=11)


def test_too_large_a_target() -> None:
    """A rate beyond a million replicas is refused, not computed for hours."""
    with pytest.raises(UserError, match="more than 1,000,000 replicas"):
        fewest_replicas(MODEL, rps=1e12, p99_ms=50)


COMMON = (
    *("plan", "--worker-cpus", "3", "--node-vcpus", "4", "--vcpu-hour-price", "0.05"),
    *("--rps", "1000", "--p99-ms", "80"),
)


@pytest.fixture
def curve(tmp_path: Path) -> str:
    path = tmp_path / "curve.csv"
    write_curve(path, curve_of(MODEL))
    return str(path)


def test_command_line(curve: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines by default, JSON on request, with the config's CPU target."""
    assert main([*COMMON, "--curve", curve]) == 0
    assert "17: 16 for the p99, 17 for 60% CPU" in capsys.readouterr().out
    assert main([*COMMON, "--curve", curve, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replicas"] == 17


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--rps", "0"), "'--rps': 0.0 is not in the range x>0"),
        (("--p99-ms", "nan"), "'--p99-ms': nan"),
        (("--cpu-target", "1.5"), "'--cpu-target': 1.5 is not in the range 0<x<=1"),
        (("--replica-cpus", "0"), "'--replica-cpus': 0.0 is not in the range x>0"),
        (("--p99-ms", "1"), "no number of replicas reaches a p99 of 1 ms"),
        (("--config", "nowhere.yaml"), "nowhere.yaml is not a Serve config"),
        (("--curve", "nowhere.csv"), "nowhere.csv cannot be read"),
    ],
)
def test_bad_input(
    curve: str, capsys: pytest.CaptureFixture[str], changed: tuple[str, str], message: str
) -> None:
    """One clear line on standard error, exit code 2."""
    assert message in refused(main, [*COMMON, "--curve", curve, *changed], capsys)


def test_the_help_says_how_to_measure_a_curve(capsys: pytest.CaptureFixture[str]) -> None:
    """A command to copy."""
    assert main(["plan", "--help"]) == 0
    assert (
        "serve-app load steps --users N --max-failure-share 1 --curve F" in capsys.readouterr().out
    )
