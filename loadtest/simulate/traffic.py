"""Traffic over time: one of three shapes, or read from a file."""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve_app.errors import UserError

Series = NDArray[np.float64]

COLUMNS = ("seconds", "requests_per_second")
HOUR = 3600.0
DAY = 24 * HOUR
NOISE = 0.03
"""Standard deviation of a minute's traffic in `diurnal`, as a share of its mean."""
MAX_STEPS = 5_000_000
"""Two months of seconds; more would take minutes, and gigabytes."""


class TrafficError(UserError):
    """A trace that cannot be replayed: names the problem and the fix."""


@dataclass(frozen=True)
class Traffic:
    """Requests per second at moments; in between, the rate changes evenly."""

    seconds: Series
    """Moments, increasing from 0 on."""
    rps: Series

    def __post_init__(self) -> None:
        """Check that it is a trace.

        Raises:
            TrafficError: it is too short, runs backwards, or is not made of numbers from 0 on.
        """
        requirements = {
            "needs two moments or more": len(self.seconds) > 1,
            "must hold finite numbers": np.isfinite([self.seconds, self.rps]).all(),
            "must have seconds that increase": (np.diff(self.seconds) > 0).all(),
            "must not have negative requests per second": (self.rps >= 0).all(),
            "must hold traffic": self.rps.any(),
        }
        for requirement, is_met in requirements.items():
            if not is_met:
                raise TrafficError(f"a trace {requirement}")

    def sampled(self, step_seconds: float) -> Series:
        """Mean requests per second of each step of ``step_seconds``, from the first moment on.

        Raises:
            TrafficError: that makes more than `MAX_STEPS`.
        """
        length = float(self.seconds[-1] - self.seconds[0])
        if length > MAX_STEPS * step_seconds:
            raise TrafficError(
                f"a trace of {length:g} s takes more than {MAX_STEPS:,} steps of {step_seconds:g} "
                "s; shorten it, or take longer --step-seconds"
            )
        steps = max(1, math.floor(length / step_seconds + 1e-9))
        middles = self.seconds[0] + (np.arange(steps) + 0.5) * step_seconds
        return np.asarray(np.interp(middles, self.seconds, self.rps), dtype=np.float64)


def diurnal(peak_rps: float) -> Traffic:
    """One day: a low at 3:00, a shoulder at noon, the peak at 18:00, and noise by the minute."""
    seconds = np.arange(0, DAY + 1, 60.0)
    hours = seconds / HOUR
    shape = (
        0.55
        - 0.33 * np.cos((hours - 4) / 24 * 2 * np.pi)
        - 0.12 * np.cos((hours - 2) / 12 * 2 * np.pi)
    )
    noise = np.random.default_rng(0).normal(1, NOISE, len(seconds))
    rps = shape * noise
    return Traffic(seconds, rps / rps.max() * peak_rps)


def spike(peak_rps: float) -> Traffic:
    """One hour: a tenth of the peak, ten times as much for ten minutes, a tenth again."""
    seconds, shares = (0, 1200, 1201, 1800, 1801, 3600), (0.1, 0.1, 1, 1, 0.1, 0.1)
    return Traffic(np.array(seconds, np.float64), peak_rps * np.array(shares))


def ramp(peak_rps: float) -> Traffic:
    """Two hours: from nothing to the peak in half an hour, held for half an hour, and back."""
    seconds, shares = (0, 1800, 3600, 5400, 7200), (0.0, 1, 1, 0, 0)
    return Traffic(np.array(seconds, np.float64), peak_rps * np.array(shares))


SHAPES: dict[str, Callable[[float], Traffic]] = {"diurnal": diurnal, "spike": spike, "ramp": ramp}


def load_traffic(trace: str, peak_rps: float | None) -> Traffic:
    """The traffic of a simulation.

    ``trace`` is one of `SHAPES`, or the path of a file for `read_trace`; ``peak_rps`` the highest
    rate, above 0, by default that of the file.

    Raises:
        TrafficError: an unknown shape, a shape without a peak, or no trace in the file.
    """
    if trace in SHAPES:
        if peak_rps is None:
            raise TrafficError(f"--trace {trace} needs --peak-rps, its highest rate")
        return SHAPES[trace](peak_rps)
    path = Path(trace)
    if not path.exists():
        raise TrafficError(f"--trace {trace} is neither a file nor one of {', '.join(SHAPES)}")
    traffic = read_trace(path)
    if peak_rps is None:
        return traffic
    return Traffic(traffic.seconds, traffic.rps * (peak_rps / traffic.rps.max()))


def read_trace(path: Path) -> Traffic:
    """Read a CSV file with the header ``seconds,requests_per_second``.

    Raises:
        TrafficError: no such file, another header, a cell that is no number, or not a trace.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TrafficError(f"{path} cannot be read as a trace: {error}") from error
    lines = csv.reader(text.splitlines())
    header = tuple(cell.strip() for cell in next(lines, []))
    if header != COLUMNS:
        raise TrafficError(
            f"{path} must begin with the line {','.join(COLUMNS)}, not {','.join(header)!r}"
        )
    rows = []
    for line in lines:
        if "".join(line).strip():
            try:
                seconds, rps = map(float, line)
            except ValueError as error:
                found = f"line {lines.line_num}: {','.join(line)!r}"
                raise TrafficError(f"{path}, {found} is not two numbers") from error
            rows.append((seconds, rps))
    try:
        return Traffic(*np.array(rows).reshape(-1, 2).T)
    except TrafficError as error:
        raise TrafficError(f"{path}: {error}") from error
