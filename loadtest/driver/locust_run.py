"""Locust in a process, with this project's load test."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from loadtest.driver.scenarios import SCENARIOS
from serve_app.errors import UserError
from serve_app.runtime.processes import Command

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
REFUSED = 2
"""Locust's exit code if it does not start the load; 1 is a failed check, 0 success."""
STOP_SECONDS = 20.0


def locust_command(scenario: str, *, seconds: float | None = None, **options: Any) -> list[str]:
    """Command line of Locust with this project's load test.

    Args:
        scenario: one of `SCENARIOS`.
        seconds: length of the load, in place of the scenario's.
        options: further options of Locust and of the load test, such as ``users``; None and
            False leave an option out, True gives one without a value.

    Raises:
        ModuleNotFoundError: Locust is not installed.
    """
    if importlib.util.find_spec("locust") is None:
        raise ModuleNotFoundError("No module named 'locust'", name="locust")
    options["run_time"] = None if seconds is None else f"{seconds:.0f}s"
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--scenario", scenario]
    for name, value in options.items():
        if value is not None and value is not False:
            command.append(f"--{name.replace('_', '-')}")
            command += [] if value is True else [str(value)]
    return command


@dataclass(frozen=True)
class Load:
    """What Locust does in one run."""

    scenario: str
    users: int
    """Users at the peak."""
    seconds: float
    user_rate: float | None = None
    """Requests per second of each user; None for users who wait for their answers."""
    host: str = ""
    model_dir: Path = Path("model")
    """Where the served model may be."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further options; see `locust_command`."""

    @classmethod
    def of(
        cls,
        scenario: str,
        *,
        users: int | None = None,
        user_rate: float | None = None,
        seconds: float | None = None,
        peak_seconds: float = 0.0,
    ) -> Self:
        """``scenario``, with other numbers where they are given.

        Without ``seconds``, it is as long as its peak needs to last ``peak_seconds``.
        """
        chosen = SCENARIOS[scenario]
        rate = user_rate if chosen.open_loop else None
        seconds = seconds or chosen.seconds_with_peak(peak_seconds)
        return cls(scenario, users or chosen.users, seconds, rate)

    @property
    def lacks_rate(self) -> bool:
        """Whether the users send at a rate that is still to be decided."""
        return self.user_rate is None and SCENARIOS[self.scenario].open_loop

    def at(self, host: str, model_dir: Path, *, peak_rps: float | None = None) -> Self:
        """This load for a service; ``peak_rps`` from all users decides a rate that it lacks.

        By default each user then sends one request per second.
        """
        rate = self.user_rate
        if self.lacks_rate:
            rate = float(f"{(peak_rps or self.users) / self.users:.3g}")
        return replace(self, host=host, model_dir=model_dir, user_rate=rate)

    @property
    def peak_rps(self) -> float | None:
        """Requests per second of all users together; None if they wait for their answers."""
        return None if self.user_rate is None else self.users * self.user_rate

    @property
    def peak(self) -> str:
        """The same in words."""
        if self.peak_rps is None:
            return f"{self.users} users who wait for their answers"
        return f"{self.peak_rps:.0f} requests/s"


class LocustRun(Command):
    """A headless run of Locust, whose files go to a directory; a context manager that stops it."""

    def __init__(self, load: Load, directory: Path) -> None:
        self.prefix = directory / "locust"
        """Where Locust's files begin; see `loadtest.driver.results`."""
        command = locust_command(
            load.scenario,
            host=load.host,
            users=load.users,
            user_rate=load.user_rate,
            seconds=load.seconds,
            model_dir=load.model_dir,
            headless=True,
            only_summary=True,
            csv=self.prefix,
            csv_full_history=True,
            json_file=self.prefix,
            **load.options,
        )
        super().__init__(command, log=directory / "locust.log", stop_seconds=STOP_SECONDS)

    def __enter__(self) -> Self:
        """Start Locust."""
        for leftover in self.log_file.parent.glob("locust[._]*"):
            leftover.unlink()  # of an earlier run, whose history is not this one's
        return super().__enter__()

    def check_accepted(self) -> None:
        """Check that Locust has not ended without a load.

        Raises:
            UserError: it has.
        """
        if self.exit_code == REFUSED:
            lines = self.log().strip().splitlines() or ["no output"]
            reasons = (line for line in reversed(lines) if "error: " in line)
            raise UserError(next(reasons, lines[-1]).rpartition("error: ")[2])
