"""The measurements, in alternating rounds: a machine drifts, and ratios within a round do not."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import load, systems
from bench.load import Generator, LoadResult, NothingAnsweredError
from bench.systems import BATCH_ROWS, Model, Target

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


@dataclass(frozen=True)
class Sample:
    """One measurement of one system in one round."""

    measure: str
    system: str
    round: int
    values: dict[str, float]


class Bench:
    """Makes the measurements and keeps the samples."""

    def __init__(
        self,
        *,
        seconds: int,
        rounds: int,
        generator: Generator,
        scratch: Path,
        progress: Callable[[str], None],
    ) -> None:
        self.samples: list[Sample] = []
        self._seconds = seconds
        self._rounds = rounds
        self._generator = generator
        self._scratch = scratch
        self._progress = progress

    def run(self, measures: Sequence[str]) -> None:
        """Make the named `MEASURES`.

        Raises:
            BenchError: a system does not start, answers wrongly or not at all.
        """
        self._progress("training the models")
        models = systems.train_models(self._scratch)
        if set(measures) & set(LOADED):
            self._load(models, measures)
        if "latency" in measures:
            self._latency(models)
        if "tracing" in measures:
            self._tracing(models[0])
        if "footprint" in measures:
            self._footprint(models[0])

    def _load(self, models: Sequence[Model], measures: Sequence[str]) -> None:
        for number in range(1, self._rounds + 1):
            # Anew in each round: one process is up to a tenth faster than the next of its kind.
            self._progress("starting all contestants")
            with systems.contestants(models, self._scratch) as targets:
                self._warm_up(targets)
                if "throughput" in measures:
                    self._throughput(number, targets)
                if "batch" in measures:
                    self._batches(number, targets)

    def _throughput(self, number: int, targets: Sequence[Target]) -> None:
        for connections in CONNECTIONS:
            for target in targets:
                self._closed(number, target, connections)

    def _batches(self, number: int, targets: Sequence[Target]) -> None:
        for target in targets:
            if target.batches:
                result = self._run_closed(
                    target.batch_url, target.model.batch_body, BATCH_CONNECTIONS
                )
                self._record("batch", target, number, result, rows=BATCH_ROWS)

    def _latency(self, models: Sequence[Model]) -> None:
        self._progress("starting the few whose latency is of interest: idle processes disturb it")
        with systems.contestants(models, self._scratch, slow=False) as targets:
            self._warm_up(targets)
            for number in range(1, self._rounds + 1):
                for target in targets:
                    result = load.open_loop(
                        target.url,
                        target.model.body,
                        rate=OPEN_LOOP_RATE,
                        seconds=self._seconds * OPEN_LOOP_STRETCH,
                    )
                    self._record("latency", target, number, result)

    def _tracing(self, model: Model) -> None:
        self._progress("starting services with and without tracing")
        with systems.traced_services(model, self._scratch) as targets:
            self._warm_up(targets)
            for number in range(1, self._rounds + 1):
                for target in targets:
                    self._closed(number, target, TRACING_CONNECTIONS, measure="tracing")

    def _footprint(self, model: Model) -> None:
        for number in range(1, min(self._rounds, FOOTPRINT_ROUNDS) + 1):
            for dashboard in (False, True):
                process, target = systems.service(model, self._scratch, dashboard=dashboard)
                with process:
                    seconds = process.wait_until(target.ready)
                    time.sleep(IDLE_SECONDS)
                    megabytes = process.pss_bytes() / 2**20
                self._note(
                    Sample(
                        "footprint",
                        target.name,
                        number,
                        {"start_seconds": seconds, "pss_mb": megabytes},
                    ),
                    f"first 200 after {seconds:.1f} s, {megabytes:.0f} MB when idle",
                )

    def _warm_up(self, targets: Sequence[Target]) -> None:
        self._progress("checking answers and warming up")
        for target in targets:
            target.check()
            self._run_closed(
                target.url, target.model.body, WARM_UP_CONNECTIONS, seconds=WARM_UP_SECONDS
            )
            self._settle(target)

    def _closed(
        self, number: int, target: Target, connections: int, measure: str = "throughput"
    ) -> None:
        result = self._run_closed(target.url, target.model.body, connections)
        self._record(f"{measure}-{connections}", target, number, result)

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
        self, measure: str, target: Target, number: int, result: LoadResult, rows: int = 1
    ) -> None:
        values = {**asdict(result), "rate": result.rate * rows}
        self._note(
            Sample(measure, target.name, number, values),
            f"{values['rate']:.0f}/s, p50 {result.p50_ms:.2f} ms, p99 {result.p99_ms:.2f} ms"
            + (f", {result.failures} FAILURES" if result.failures else ""),
        )
        self._settle(target)

    def _note(self, sample: Sample, text: str) -> None:
        self.samples.append(sample)
        self._progress(
            f"round {sample.round}/{self._rounds}  {sample.measure:<14} {sample.system:<16} {text}"
        )

    @staticmethod
    def _settle(target: Target) -> None:
        # Requests that the generator left behind are worked off before the next system's turn:
        # this one queues behind them.
        target.ready()
        time.sleep(SETTLE_SECONDS)
