"""The Serve config: read once, checked, overridden and asked here, and nowhere else.

A Serve config of this project has one application with one deployment. ``None`` as the value of an
override removes the key.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from pydantic import ValidationError

from serve_app.autoscaling import CPU_TARGET, CpuAndRequestsPolicy, Targets
from serve_app.errors import UserError, first_error
from serve_app.ray_internals.lean import import_serve
from serve_app.settings import Settings

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

CONFIG_FILE = "serve_config.yaml"
DEFAULT_PORT = 8000
"""Serve's own, for a config that names none."""
DEFAULT_GRPC_PORT = 9000
"""Serve's own, too."""
POLICY = f"{CpuAndRequestsPolicy.__module__}:{CpuAndRequestsPolicy.__qualname__}"

Override = Mapping[str, Any]


class ConfigError(UserError):
    """A Serve config that cannot be used: names the file, the problem and the fix."""


def packaged_config() -> Path:
    """The config that comes with the package: in the wheel beside this file, in a clone above."""
    here = Path(__file__).parent
    installed = here / CONFIG_FILE
    return installed if installed.exists() else here.parent / CONFIG_FILE


def find_config(path: Path | None = None) -> Path:
    """``path``, else the config in the current directory, else the packaged one."""
    if path is not None:
        return path
    local = Path(CONFIG_FILE)
    return local if local.exists() else packaged_config()


@dataclass(frozen=True)
class Scaling:
    """The deployment's size and its autoscaling: what is planned, simulated and watched."""

    replica_cpus: float
    """CPUs that one replica asks for."""
    queue_limit: int
    """Requests that may run or wait at one replica."""
    options: Mapping[str, Any]
    """Options of Ray's ``autoscaling_config``, without its policy."""
    cpu_target: float = CPU_TARGET

    def override(self, options: Override, *, cpu_target: float | None = None) -> Self:
        """A copy with other options, and another CPU target unless it is None."""
        return replace(
            self,
            options={**self.options, **options},
            cpu_target=self.cpu_target if cpu_target is None else cpu_target,
        )

    @property
    def autoscaling(self) -> "AutoscalingConfig":
        """The options, checked by Ray.

        Raises:
            ConfigError: Ray refuses an option.
        """
        from ray.serve.config import AutoscalingConfig

        with warnings.catch_warnings():
            # metrics_interval_s: its replacement is not read by this version of Ray.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                return AutoscalingConfig(**self.options)
            except ValidationError as error:
                raise ConfigError(f"autoscaling_config: {first_error(error)}") from error

    @property
    def targets(self) -> Targets:
        """What the policy aims at.

        Raises:
            ConfigError: a target is not a positive number.
        """
        try:
            return Targets(
                cpu_utilisation=self.cpu_target,
                ongoing_requests=self.autoscaling.get_target_ongoing_requests(),
            )
        except ValueError as error:
            raise ConfigError(str(error)) from error


@dataclass(frozen=True)
class ServeConfig:
    """A Serve config with one application."""

    path: Path
    """Where it was read; messages name it."""
    document: Mapping[str, Any]
    """The whole config, as Serve takes it."""

    @classmethod
    def read(cls, path: Path, arguments: Sequence[str] = ()) -> Self:
        """Read ``path`` and put ``key=value`` arguments into its application.

        Raises:
            ConfigError: unreadable, not a Serve config of one application, or an unknown or
                mistyped argument.
        """
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
            if document is None:
                raise ConfigError(
                    f"{path} is empty; give a Serve config such as the one that `serve-app init` "
                    "writes, or leave --config out"
                )
            (application,) = document["applications"]
            application["args"] = dict(application.get("args") or {})
            document["http_options"] = dict(document.get("http_options") or {})
            document["grpc_options"] = dict(document.get("grpc_options") or {})
        except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as e:
            raise ConfigError(f"{path} is not a Serve config with one application: {e}") from e
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if not equals:
                raise ConfigError(
                    f"argument {argument!r} is not key=value, such as model_dir=model"
                )
            application["args"][key] = value
        config = cls(path, document)
        _ = config.settings
        return config

    @property
    def settings(self) -> Settings:
        """Arguments of the application, typed.

        Raises:
            ConfigError: an unknown or mistyped argument.
        """
        try:
            return Settings.model_validate(self._application["args"])
        except ValidationError as error:
            raise ConfigError(
                f"argument {first_error(error)}; arguments are {', '.join(Settings.model_fields)}"
            ) from error

    @property
    def port(self) -> int:
        """HTTP port."""
        return int(self.document["http_options"].get("port", DEFAULT_PORT))

    @property
    def grpc_port(self) -> int | None:
        """Port of gRPC; None for a service without gRPC."""
        options = self.document["grpc_options"]
        port = int(options.get("port", DEFAULT_GRPC_PORT))
        return port if port > 0 and options.get("grpc_servicer_functions") else None

    @property
    def request_timeout_s(self) -> float | None:
        """Longest time that a request may take, of HTTP and gRPC, seconds; None for no limit."""
        options = ["http_options", *([] if self.grpc_port is None else ["grpc_options"])]
        limits: list[float | None] = [
            self.document[each].get("request_timeout_s") for each in options
        ]
        known = [seconds for seconds in limits if seconds is not None]
        return max(known) if len(known) == len(limits) else None

    @property
    def requests_per_replica(self) -> int | None:
        """Most requests that may run or wait at one replica; None for no limit."""
        try:
            options = self.deployment
        except ConfigError:
            return None  # Serve's defaults
        running = options.get("max_ongoing_requests", -1)
        waiting = options.get("max_queued_requests", -1)
        return running + waiting if min(running, waiting) >= 0 else None

    @property
    def application_name(self) -> str:
        """Name of the application."""
        return str(self._application.get("name", "default"))

    @property
    def deployment_name(self) -> str:
        """Name of the deployment.

        Raises:
            ConfigError: the application does not list one deployment.
        """
        return str(self.deployment["name"])

    @property
    def deployment(self) -> Mapping[str, Any]:
        """Options of the deployment.

        Raises:
            ConfigError: the application does not list one deployment.
        """
        try:
            (deployment,) = self._application["deployments"]
            found: Mapping[str, Any] = deployment
            _ = found["name"]
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.path} must name one deployment of its application: {error!r}"
            ) from error
        return found

    @property
    def scaling(self) -> Scaling:
        """Size and autoscaling of the deployment.

        Raises:
            ConfigError: it does not scale, or by another policy than this project's.
        """
        deployment = self.deployment
        try:
            options = dict(deployment["autoscaling_config"])
            policy = options.pop("policy")
            function = policy["policy_function"]
            scaling = Scaling(
                replica_cpus=float(deployment["ray_actor_options"]["num_cpus"]),
                queue_limit=deployment["max_ongoing_requests"] + deployment["max_queued_requests"],
                options=options,
                cpu_target=float(policy.get("policy_kwargs", {}).get("cpu_target", CPU_TARGET)),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.path} is not a Serve config with one autoscaled deployment: {error!r}"
            ) from error
        if function != POLICY:
            raise ConfigError(f"{self.path} scales by {function}; only {POLICY} is supported")
        return scaling

    def at(self, host: str, port: int, grpc_port: int | None = None) -> Self:
        """A copy that listens elsewhere.

        Args:
            host: address of HTTP.
            port: HTTP port. It is another one for a second service on one machine: gRPC, without a
                port of its own, moves as far.
            grpc_port: gRPC port, of a service that has gRPC.
        """
        moved = self.override(http_options={"host": host, "port": port})
        if self.grpc_port is None:
            return moved
        grpc_port = grpc_port or self.grpc_port + port - self.port
        return moved.override(grpc_options={"port": grpc_port})

    def override(
        self,
        *,
        http_options: Override | None = None,
        grpc_options: Override | None = None,
        args: Override | None = None,
        deployment: Override | None = None,
        autoscaling: Override | None = None,
        cpu_target: float | None = None,
        **top_level: Any,
    ) -> Self:
        """A copy with other values.

        Args:
            http_options: keys of ``http_options``.
            grpc_options: keys of ``grpc_options``.
            args: arguments of the application.
            deployment: options of the deployment.
            autoscaling: keys of the deployment's ``autoscaling_config``.
            cpu_target: argument of the autoscaling policy.
            top_level: keys of the config itself, such as ``proxy_location``.

        Raises:
            ConfigError: there is no deployment to override.
        """
        document = copy.deepcopy(dict(self.document))
        changed = replace(self, document=document)
        _update(document, top_level)
        _update(document["http_options"], http_options)
        _update(document["grpc_options"], grpc_options)
        _update(document["applications"][0]["args"], args, keep_none=True)
        if deployment or autoscaling or cpu_target is not None:
            options: Any = changed.deployment
            _update(options, deployment)
            if autoscaling or cpu_target is not None:
                scaling = options.setdefault("autoscaling_config", {})
                _update(scaling, autoscaling)
                if cpu_target is not None:
                    scaling["policy"].setdefault("policy_kwargs", {})["cpu_target"] = cpu_target
        return changed

    def validated(self) -> "ServeDeploySchema":
        """The config as Ray Serve's own schema; imports Ray.

        Raises:
            ConfigError: Ray Serve does not accept it.
        """
        import_serve()
        from ray.serve.schema import ServeDeploySchema

        try:
            return ServeDeploySchema.model_validate(self.document)
        except ValidationError as error:
            raise ConfigError(f"{self.path}: {first_error(error)}") from error

    @property
    def _application(self) -> Mapping[str, Any]:
        application: Mapping[str, Any] = self.document["applications"][0]
        return application


def _update(target: dict[str, Any], override: Override | None, *, keep_none: bool = False) -> None:
    for key, value in (override or {}).items():
        if value is None and not keep_none:
            target.pop(key, None)
        else:
            target[key] = value
