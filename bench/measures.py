"""The measurements, in alternating rounds: a machine drifts, and ratios within a round do not."""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from bench import load, systems
from bench.contestant import Contestant
from bench.load import Generator, LoadResult, NothingAnsweredError
from bench.models import BATCH_ROWS, BenchModel, train_models
from bench.stats import Measurement

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
        self,
        *,
        seconds: int,
        rounds: int,
        generator: Generator,
        scratch: Path,
        progress: Callable[[str], None],
    ) -> None:
        self.measurements: list[Measurement] = []
        self._seconds = seconds
        self._rounds = rounds
        self._generator = generator
        self._scratch = scratch
        self._progress = progress

    def measure(self, measures: Sequence[str]) -> None:
        """Make the named `MEASURES`.

        Raises:
            UserError: a system does not start, answers wrongly or not at all.
        """
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
        for number in range(1, self._rounds + 1):
            # Anew in each round: one process is up to a tenth faster than the next of its kind.
            self._progress("starting all contestants")
            with systems.all_contestants(models, self._scratch) as contestants:
                self._warm_up(contestants)
                if "throughput" in measures:
                    self._throughput(number, contestants)
                if "batch" in measures:
                    self._batches(number, contestants)

    def _throughput(self, number: int, contestants: Sequence[Contestant]) -> None:
        for connections in CONNECTIONS:
            for contestant in contestants:
                self._closed(number, contestant, connections)

    def _batches(self, number: int, contestants: Sequence[Contestant]) -> None:
        for contestant in contestants:
            if contestant.batches:
                result = self._run_closed(
                    contestant.batch_url, contestant.model.batch_body, BATCH_CONNECTIONS
                )
                self._record("batch", contestant, number, result, rows=BATCH_ROWS)

    def _latency(self, models: Sequence[BenchModel]) -> None:
        self._progress("starting the few whose latency is of interest: idle processes disturb it")
        with systems.quick_contestants(models, self._scratch) as contestants:
            self._warm_up(contestants)
            for number in range(1, self._rounds + 1):
                for contestant in contestants:
                    result = load.open_loop(
                        contestant.url,
                        contestant.model.body,
                        rate=OPEN_LOOP_RATE,
                        seconds=self._seconds * OPEN_LOOP_STRETCH,
                    )
                    self._record("latency", contestant, number, result)

    def _tracing(self, model: BenchModel) -> None:
        self._progress("starting services with and without tracing")
        with systems.traced_services(model, self._scratch) as contestants:
            self._warm_up(contestants)
            for number in range(1, self._rounds + 1):
                for contestant in contestants:
                    self._closed(number, contestant, TRACING_CONNECTIONS, measure="tracing")

    def _footprint(self, model: BenchModel) -> None:
        for number in range(1, min(self._rounds, FOOTPRINT_ROUNDS) + 1):
            for dashboard in (False, True):
                process, contestant = systems.service(model, self._scratch, dashboard=dashboard)
                with process:
                    seconds = process.wait_until(contestant.is_ready, systems.START_SECONDS)
                    time.sleep(IDLE_SECONDS)
                    megabytes = pss_bytes(process.tree()) / 2**20
                self._note(
                    Measurement(
                        "footprint",
                        contestant.name,
                        number,
                        {"start_seconds": seconds, "pss_mb": megabytes},
                    ),
                    f"first 200 after {seconds:.1f} s, {megabytes:.0f} MB when idle",
                )

    def _warm_up(self, contestants: Sequence[Contestant]) -> None:
        self._progress("checking answers and warming up")
        for contestant in contestants:
            contestant.check()
            self._run_closed(
                contestant.url, contestant.model.body, WARM_UP_CONNECTIONS, seconds=WARM_UP_SECONDS
            )
            self._settle(contestant)

    def _closed(
        self, number: int, contestant: Contestant, connections: int, measure: str = "throughput"
    ) -> None:
        result = self._run_closed(contestant.url, contestant.model.body, connections)
        self._record(f"{measure}-{connections}", contestant, number, result)

    def _run_closed(
        self, url: str, body: bytes, connections: int, *, seconds: int | None = None
    ) -> LoadResult:
        seconds = seconds or self._seconds
        try:
            return load.closed_loop(
                self._generator,
                url,
                body,
                connections=connections,
                seconds=seconds,
                scratch=self._scratch,
            )
        except NothingAnsweredError:
            if seconds >= PATIENCE_SECONDS:
                raise
            return self._run_closed(url, body, connections, seconds=2 * seconds)

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
        place = f"round {measured.round}/{self._rounds}  {measured.measure:<14}"
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
