"""What a scale run does: the load, where it runs, and what must come of it."""

from dataclasses import dataclass, field
from pathlib import Path

from loadtest.driver.locust_run import Load
from loadtest.driver.scenarios import SCENARIOS
from loadtest.driver.thresholds import Thresholds
from serve_app.serve_config import ServeConfig


@dataclass(frozen=True)
class OneMachine:
    """A Ray cluster that is started on this machine, with processes as its worker nodes."""

    replicas: int
    """Replicas that the peak of the load needs."""
    max_nodes: int
    """Worker nodes, of one CPU each."""
    downscale_delay_s: float
    node_idle_s: float
    port: int


@dataclass(frozen=True)
class RunningService:
    """A service that runs already, and that nothing here changes."""

    serve_url: str
    dashboard_url: str
    token_file: Path | None = None
    """The dashboard's token."""
    namespace: str | None = None
    """Kubernetes namespace whose worker pods and nodes are counted."""


@dataclass(frozen=True)
class ScalePlan:
    """A load test during which replicas and nodes must scale out and in."""

    config: ServeConfig
    out: Path
    """Directory for the report and the raw files."""
    place: OneMachine | RunningService
    scenario: str = "scale"
    users: int | None = None
    """Users at the peak, in place of the scenario's."""
    user_rate: float | None = None
    """Requests per second of each open-loop user, in place of the rate that the peak needs."""
    seconds: float | None = None
    """Length of the load, in place of the scenario's."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    settle_seconds: float = 120.0
    """Longest wait for the scale-in after the load."""
    cpu_target: float | None = None
    """CPU utilisation that the deployment aims at, in place of the config's."""

    def load(self, host: str, model_dir: Path, *, peak_rps: float | None = None) -> Load:
        """The load for ``host``.

        Args:
            host: address of the service.
            model_dir: where the served model may be.
            peak_rps: requests per second of all users together, if the plan has no rate; by
                default one from each of the scenario's users.
        """
        return Load.peaking_at(
            SCENARIOS[self.scenario].users if peak_rps is None else peak_rps,
            scenario=self.scenario,
            host=host,
            model_dir=model_dir,
            users=self.users,
            user_rate=self.user_rate,
            seconds=self.seconds,
        )
