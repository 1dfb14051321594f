"""What Serve's controller does with the number that a policy asks for."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingConfig


POINTS_PER_LOOK_BACK = 5
"""A replica records so many points per look-back period.
``RAY_SERVE_AUTOSCALING_METRIC_RECORD_INTERVAL_FACTOR`` in ray/serve/_private/constants.py."""


def apply_scaling_factors(desired: int, running: int, config: "AutoscalingConfig") -> int:
    """Desired replicas after ``upscaling_factor`` and ``downscaling_factor``.

    Source: ``_apply_scaling_factors`` in ray/serve/autoscaling_policy.py.
    """
    from ray.serve.autoscaling_policy import _apply_scaling_factors

    return int(_apply_scaling_factors(desired, running, config))


def apply_delays(
    desired: int, target: int, config: "AutoscalingConfig", state: dict[str, Any], now: float
) -> tuple[int, dict[str, Any]]:
    """The new target after ``upscale_delay_s`` and ``downscale_delay_s``, and the new state.

    Source: ``_apply_delay_logic`` in ray/serve/autoscaling_policy.py.
    """
    from ray.serve.autoscaling_policy import _apply_delay_logic

    decided, state = _apply_delay_logic(desired, target, config, state, _now=now)
    return int(decided), state
