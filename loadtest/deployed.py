"""What serve_config.yaml says about the deployment that is planned and simulated."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig

from serve_app.autoscaling import CPU_TARGET, CpuAndRequestsPolicy, Targets

POLICY = f"{CpuAndRequestsPolicy.__module__}:{CpuAndRequestsPolicy.__qualname__}"


class ConfigError(ValueError):
    """A Serve config that cannot be planned with: names the file, the problem and the fix."""


@dataclass(frozen=True)
class Deployed:
    """The deployment's size and its autoscaling.

    Raises:
        ValueError: Ray or the policy refuses the autoscaling options.
    """

    replica_cpus: float
    """CPUs that one replica asks for."""
    queue_limit: int
    """Requests that may run or wait at one replica."""
    options: dict[str, Any]
    """Options of Ray's ``autoscaling_config``, without its policy."""
    cpu_target: float = CPU_TARGET

    @property
    def autoscaling(self) -> AutoscalingConfig:
        """The options, checked by Ray."""
        with warnings.catch_warnings():
            # metrics_interval_s: what replaces it is not read by this version of Ray.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                return AutoscalingConfig(**self.options)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                name = ".".join(map(str, first["loc"])) or "autoscaling_config"
                raise ConfigError(f"{name}={first['input']!r}: {first['msg']}") from error

    @property
    def targets(self) -> Targets:
        """What the policy aims at."""
        return Targets(
            cpu_utilisation=self.cpu_target,
            ongoing_requests=self.autoscaling.get_target_ongoing_requests(),
        )


def read_serve_config(path: Path) -> Deployed:
    """Read the one deployment of ``path``.

    Raises:
        ConfigError: it is no Serve config of one deployment, or scales by another policy.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        (application,) = config["applications"]
        (deployment,) = application["deployments"]
        options = dict(deployment["autoscaling_config"])
        policy = options.pop("policy")
        function = policy["policy_function"]
        deployed = Deployed(
            replica_cpus=float(deployment["ray_actor_options"]["num_cpus"]),
            queue_limit=deployment["max_ongoing_requests"] + deployment["max_queued_requests"],
            options=options,
            cpu_target=float(policy.get("policy_kwargs", {}).get("cpu_target", CPU_TARGET)),
        )
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is not a Serve config with one autoscaled deployment: {error!r}"
        ) from error
    if function != POLICY:
        raise ConfigError(f"{path} scales by {function}; only {POLICY} can be simulated")
    return deployed
