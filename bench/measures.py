"""The measurements, in alternating rounds: a machine drifts, and ratios within a round do not."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from bench import systems
from bench.client import open_loop
from bench.load import LoadResult, NothingAnsweredError, closed_loop
from bench.models import BenchModel, train_models
from bench.stats import Measurement
from bench.systems import BATCH_ROWS, Contestant
from serve_app.errors import UserError

CONNECTIONS = (1, 32, 100)
BATCH_CONNECTIONS = 8
TRACING_CONNECTIONS = 32
OPEN_LOOP_RATE = 500
OPEN_LOOP_STRETCH = 2
"""A 99th percentile needs more answers than a mean."""
WARM_UP_CONNECTIONS = 32
WARM_UP_SECONDS = 1
SETTLE_SECONDS = 0.3
PATIENCE_SECONDS = 30
"""A system too slow to answer anything in the usual time is given twice as long, up to this."""
IDLE_SECONDS = 5.0
"""After the start, until the memory of a service is that of an idle one."""
FOOTPRINT_ROUNDS = 3
LOADED = ("throughput", "batch")
MEASURES = (*LOADED, "latency", "tracing", "footprint")


class Bench:
    """Makes the measurements and keeps them."""

    def __init__(
        self, *, seconds: int, rounds: int, scratch: Path, progress: Callable[[str], None]
    ) -> None:
        self.measurements: list[Measurement] = []
        self._seconds = seconds
        self._rounds = range(1, rounds + 1)
        self._scratch = scratch
        self._progress = progress

    def measure(self, measures: Sequence[str]) -> None:
        """Make the named `MEASURES`.

        Raises:
            UserError: a system does not start, answers wrongly or not at all, or wrk is missing.
        """
        if shutil.which("wrk") is None:
            raise UserError("wrk, the load generator, is not installed; on Debian: apt install wrk")
        self._progress("training the models")
        models = train_models(self._scratch)
        if set(measures) & set(LOADED):
            self._load(models, measures)
        if "latency" in measures:
            self._latency(models)
        if "tracing" in measures:
            self._tracing(models[0])
        if "footprint" in measures:
            self._footprint(models[0])

    def _load(self, models: Sequence[BenchModel], measures: Sequence[str]) -> None:
        for number in self._rounds:
            # Anew in each round: one process is up to a tenth faster than the next of its kind.
            self._progress("starting all contestants")
            with systems.all_contestants(models, self._scratch) as contestants:
                self._warm_up(contestants)
                if "throughput" in measures:
                    for connections in CONNECTIONS:
                        self._throughput("throughput", number, contestants, connections)
                if "batch" in measures:
                    for contestant in (each for each in contestants if each.batches):
                        result = self._closed(contestant, BATCH_CONNECTIONS, rows=BATCH_ROWS)
                        self._record("batch", contestant, number, result, rows=BATCH_ROWS)

    def _latency(self, models: Sequence[BenchModel]) -> None:
        self._progress("starting the few whose latency is of interest: idle processes disturb it")
        with systems.in_ray(models, ("onnx",), self._scratch) as contestants:
            self._warm_up(contestants)
            for number in self._rounds:
                for contestant in contestants:
                    seconds = self._seconds * OPEN_LOOP_STRETCH
                    result = open_loop(*contestant.request(), rate=OPEN_LOOP_RATE, seconds=seconds)
                    self._record("latency", contestant, number, result)

    def _tracing(self, model: BenchModel) -> None:
        self._progress("starting services with and without tracing")
        with systems.traced_services(model, self._scratch) as contestants:
            self._warm_up(contestants)
            for number in self._rounds:
                self._throughput("tracing", number, contestants, TRACING_CONNECTIONS)

    def _footprint(self, model: BenchModel) -> None:
        for number in self._rounds[:FOOTPRINT_ROUNDS]:
            for dashboard in (False, True):
                process, contestant = systems.service(model, self._scratch, dashboard=dashboard)
                with process:
                    seconds = process.wait_until(contestant.is_ready, systems.START_SECONDS)
                    time.sleep(IDLE_SECONDS)
                    megabytes = pss_bytes(process.tree()) / 2**20
                values = {"start_seconds": seconds, "pss_mb": megabytes}
                self._note(
                    Measurement("footprint", contestant.name, number, values),
                    f"first 200 after {seconds:.1f} s, {megabytes:.0f} MB when idle",
                )

    def _warm_up(self, contestants: Sequence[Contestant]) -> None:
        self._progress("checking answers and warming up")
        for each in contestants:
            each.check()
            self._closed(each, WARM_UP_CONNECTIONS, seconds=WARM_UP_SECONDS)
            self._settle(each)

    def _throughput(
        self, measure: str, number: int, contestants: Sequence[Contestant], connections: int
    ) -> None:
        for contestant in contestants:
            result = self._closed(contestant, connections)
            self._record(f"{measure}-{connections}", contestant, number, result)

    def _closed(
        self, contestant: Contestant, connections: int, *, rows: int = 1, seconds: int | None = None
    ) -> LoadResult:
        seconds, request = seconds or self._seconds, contestant.request(rows)
        while True:
            try:
                return closed_loop(
                    *request, connections=connections, seconds=seconds, scratch=self._scratch
                )
            except NothingAnsweredError:
                if seconds >= PATIENCE_SECONDS:
                    raise
                seconds *= 2

    def _record(
        self, measure: str, contestant: Contestant, number: int, result: LoadResult, rows: int = 1
    ) -> None:
        values = {**asdict(result), "rate": result.rate * rows}
        self._note(
            Measurement(measure, contestant.name, number, values),
            f"{values['rate']:.0f}/s, p50 {result.p50_ms:.2f} ms, p99 {result.p99_ms:.2f} ms"
            + (f", {result.failures} FAILURES" if result.failures else ""),
        )
        self._settle(contestant)

    def _note(self, measured: Measurement, text: str) -> None:
        self.measurements.append(measured)
        place = f"round {measured.round}/{len(self._rounds)}  {measured.measure:<14}"
        self._progress(f"{place} {measured.system:<16} {text}")

    @staticmethod
    def _settle(contestant: Contestant) -> None:
        # Requests that the generator left behind are worked off before the next system's turn:
        # this one queues behind them.
        contestant.is_ready()
        time.sleep(SETTLE_SECONDS)


def pss_bytes(processes: Iterable[psutil.Process]) -> int:
    """Proportional set size of all together: pages that they share are counted once."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total
