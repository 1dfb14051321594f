"""What Serve's controller does with a policy's number, against the installed Ray."""

from typing import Any

from ray.serve.config import AutoscalingConfig

from serve_app.ray_internals import scaling


def test_a_look_back_period_has_so_many_points() -> None:
    """Ray has the inverse."""
    from ray.serve._private import constants

    factor = constants.RAY_SERVE_AUTOSCALING_METRIC_RECORD_INTERVAL_FACTOR
    assert factor * scaling.POINTS_PER_LOOK_BACK == 1


def test_scaling_factors_shorten_the_way() -> None:
    """Half of the way up, and half of the way down."""
    config = AutoscalingConfig(upscaling_factor=0.5, downscaling_factor=0.5, max_replicas=10)
    assert scaling.apply_scaling_factors(10, 2, config) == 6
    assert scaling.apply_scaling_factors(2, 10, config) == 6


def test_delays_hold_a_change_back() -> None:
    """A change counts once it was asked for during the whole delay."""
    config = AutoscalingConfig(upscale_delay_s=3, downscale_delay_s=5, max_replicas=10)
    state: dict[str, Any] = {}
    targets = []
    for now in (100.0, 102.0, 104.0):
        target, state = scaling.apply_delays(4, 1, config, state, now)
        targets.append(target)
    assert targets == [1, 1, 4]
