"""The measurements, in alternating rounds: a machine drifts, and ratios within a round do not."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import peers, systems
from bench.calls import timed_calls
from bench.client import open_loop
from bench.contestants import Contestant
from bench.costs import megabytes, with_cpu
from bench.load import NothingAnsweredError, closed_loop
from bench.messages import Request
from bench.models import (
    AT_EVERY_LOAD,
    BATCH_ROWS,
    RECIPES,
    SERVED,
    BenchModel,
    make_models,
)
from bench.stages import timed_stages
from bench.stats import Measurement
from bench.transports import require_generator
from serve_app.errors import UserError
from serve_app.settings import Settings

CONNECTIONS = (1, 32, 100)
MAIN_CONNECTIONS = 32
"""At these every system is measured, at the others those of `AT_EVERY_LOAD`."""
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
IDLE_SECONDS = 10.0
"""After the start, until the memory of a service is that of an idle one."""
FOOTPRINT_ROUNDS = 2
STREAM_ROWS = Settings().max_rows
"""Of each request in a stream beside small requests: the most that the service takes."""
STREAM_BYTES = Settings().max_body_bytes
"""Longest body that the service takes."""
BESIDE_RATE = 200
PROTOCOL_BATCH_ROWS = 1000
"""Of a batch in each protocol: where the form of the numbers costs more than the request."""
LOADED = ("throughput", "batch")
PROTOCOLS = "protocols"
MEASURES = (*LOADED, "latency", "beside", "calls", "stages", "tracing", "footprint", PROTOCOLS)


class Bench:
    """Makes the measurements and keeps them.

    Args:
        seconds: length of each measurement.
        rounds: how often each is repeated.
        scratch: directory for models and logs.
        progress: shows a line.
        only: models that take part.
        with_peers: measure the servers of `bench.peers` too.
    """

    def __init__(
        self,
        *,
        seconds: int,
        rounds: int,
        scratch: Path,
        progress: Callable[[str], None],
        only: Sequence[str] = tuple(RECIPES),
        with_peers: bool = False,
    ) -> None:
        self.measurements: list[Measurement] = []
        self._seconds = seconds
        self._rounds = range(1, rounds + 1)
        self._scratch = scratch
        self._progress = progress
        self._only = only
        self._with_peers = with_peers

    def measure(self, measures: Sequence[str]) -> None:
        """Make the named `MEASURES`.

        Raises:
            UserError: a system does not start, answers wrongly or not at all, a load generator
                or a peer is not installed, or no model takes part in the measures.
        """
        self._require_programs(measures)
        usable = RECIPES if "calls" in measures else SERVED
        names = [name for name in usable if name in self._only]
        if not names:
            raise UserError(
                f"of {', '.join(self._only)} only the model call is timed; add the measure calls"
            )
        self._progress(f"fitting and packaging the models: {', '.join(names)}")
        models = make_models(names, self._scratch)
        served = [model for model in models if model.name in SERVED]
        if served and set(measures) & set(LOADED):
            self._load(served, measures)
        if "calls" in measures:
            self._calls(models)
        if not served:
            return
        if "latency" in measures:
            of_iris = [model for model in served if model.name in AT_EVERY_LOAD]
            self._latency(of_iris or served)
        of_one = {
            "beside": self._beside,
            "stages": self._stages,
            "tracing": self._tracing,
            "footprint": self._footprint,
            PROTOCOLS: self._protocols,
        }
        for name, measure in of_one.items():
            if name in measures:
                measure(served[0])

    def _require_programs(self, measures: Sequence[str]) -> None:
        for name in ("wrk", "h2load") if PROTOCOLS in measures else ("wrk",):
            require_generator(name)
        for peer in peers.PROGRAMS if self._with_peers else ():
            peers.program(peer)

    def _load(self, models: Sequence[BenchModel], measures: Sequence[str]) -> None:
        for number in self._rounds:
            # Anew in each round: one process is up to a tenth faster than the next of its kind.
            self._progress("starting all contestants")
            with systems.all_contestants(
                models, self._scratch, peers=self._with_peers
            ) as contestants:
                self._loads(contestants, number, measures)
            if self._with_peers:
                for started in systems.restless_contestants(models, self._scratch):
                    self._progress("starting a contestant that would disturb the others")
                    with started as contestants:
                        self._loads(contestants, number, measures)

    def _loads(
        self, contestants: Sequence[Contestant], number: int, measures: Sequence[str]
    ) -> None:
        self._warm_up(contestants)
        if "throughput" in measures:
            for connections in CONNECTIONS:
                chosen = [
                    each
                    for each in contestants
                    if each.at_every_load or connections == MAIN_CONNECTIONS
                ]
                self._throughput("throughput", number, chosen, connections)
        if "batch" in measures:
            for contestant in (each for each in contestants if each.batches):
                self._closed("batch", contestant, number, BATCH_CONNECTIONS, BATCH_ROWS)

    def _calls(self, models: Sequence[BenchModel]) -> None:
        for number in self._rounds:
            for system, values in timed_calls(models):
                text = f"{values['us']:.1f} µs, {values['rows_per_second']:.0f} rows/s"
                self._note(Measurement("calls", system, number, values), text)

    def _stages(self, model: BenchModel) -> None:
        for number in self._rounds:
            for stage, values in timed_stages(model):
                self._note(Measurement("stages", stage, number, values), f"{values['us']:.2f} µs")

    def _latency(self, models: Sequence[BenchModel]) -> None:
        self._progress("starting the few whose latency is of interest: idle processes disturb it")
        with systems.in_ray(models, ("onnx",), self._scratch) as contestants:
            self._warm_up(contestants)
            for number in self._rounds:
                for contestant in contestants:
                    self._record("latency", contestant, number, self._open(contestant))

    def _beside(self, model: BenchModel) -> None:
        """Single rows alone, and beside a connection that always has a large request under way."""
        self._progress("starting the service for small requests beside large ones")
        with systems.in_ray([model], ("onnx",), self._scratch) as contestants:
            self._warm_up(contestants)
            (ours,) = [each for each in contestants if each.name.startswith("ours")]
            rows = ours.request(STREAM_ROWS)
            long = replace(rows, body=rows.body.ljust(STREAM_BYTES))
            streams = {"": None, "-rows": rows, "-bytes": long}
            for number in self._rounds:
                for name, large in streams.items():
                    with self._stream(large):
                        values = self._open(ours, BESIDE_RATE)
                    self._record("beside", replace(ours, name=f"beside{name}"), number, values)

    @contextmanager
    def _stream(self, large: Request | None) -> Iterator[None]:
        """Send ``large`` again and again over one connection, if there is such a request."""
        if large is None:
            yield
            return
        seconds = self._seconds * OPEN_LOOP_STRETCH + 1
        scratch = self._scratch / "stream"
        scratch.mkdir(exist_ok=True)
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(closed_loop, large, connections=1, seconds=seconds, scratch=scratch)
            yield
            if failures := load.result().failures:
                raise UserError(f"{failures} of the large requests failed")

    def _tracing(self, model: BenchModel) -> None:
        self._progress("starting services with and without tracing")
        with systems.traced_services(model, self._scratch) as contestants:
            self._warm_up(contestants)
            for number in self._rounds:
                self._throughput("tracing", number, contestants, TRACING_CONNECTIONS)

    def _footprint(self, model: BenchModel) -> None:
        for number in self._rounds[:FOOTPRINT_ROUNDS]:
            for process, contestant in systems.services(
                model, self._scratch, peers=self._with_peers
            ):
                with process:
                    seconds = process.wait_until(contestant.is_ready, systems.START_SECONDS)
                    time.sleep(IDLE_SECONDS)
                    values = {"start_seconds": seconds, **megabytes(process.tree())}
                self._note(
                    Measurement("footprint", contestant.name, number, values),
                    f"first 200 after {seconds:.1f} s, {values['pss_mb']:.0f} MB when idle",
                )

    def _protocols(self, model: BenchModel) -> None:
        if model.takes_frame:
            self._progress(f"protocols are measured with rows of numbers, which {model.name} lacks")
            return
        for number in self._rounds:
            self._progress("starting the servers that speak several protocols")
            with systems.speakers(model, self._scratch, peers=self._with_peers) as contestants:
                self._warm_up(contestants)
                self._throughput(PROTOCOLS, number, contestants, MAIN_CONNECTIONS)
                batch = f"{PROTOCOLS}-batch"
                for each in (each for each in contestants if each.batches):
                    self._closed(batch, each, number, BATCH_CONNECTIONS, PROTOCOL_BATCH_ROWS)

    def _warm_up(self, contestants: Sequence[Contestant]) -> None:
        self._progress("checking answers and warming up")
        for each in contestants:
            each.check()
            self._answered(each, WARM_UP_CONNECTIONS, WARM_UP_SECONDS)
            self._settle(each)

    def _throughput(
        self, measure: str, number: int, contestants: Sequence[Contestant], connections: int
    ) -> None:
        for contestant in contestants:
            self._closed(f"{measure}-{connections}", contestant, number, connections)

    def _closed(
        self, measure: str, contestant: Contestant, number: int, connections: int, rows: int = 1
    ) -> None:
        """Measure in the closed loop."""
        values = self._answered(contestant, connections, self._seconds, rows)
        self._record(measure, contestant, number, {**values, "rate": values["rate"] * rows})

    def _open(self, contestant: Contestant, rate: float = OPEN_LOOP_RATE) -> dict[str, float]:
        seconds = self._seconds * OPEN_LOOP_STRETCH
        load = partial(open_loop, contestant.request(), rate=rate, seconds=seconds)
        return with_cpu(contestant, load)

    def _answered(
        self, contestant: Contestant, connections: int, seconds: int, rows: int = 1
    ) -> dict[str, float]:
        """Load a system for so long that it answers."""
        load = partial(contestant.closed_loop, rows, connections=connections, scratch=self._scratch)
        while True:
            try:
                return with_cpu(contestant, partial(load, seconds=seconds))
            except NothingAnsweredError:
                if seconds >= PATIENCE_SECONDS:
                    raise
                seconds *= 2

    def _record(
        self, measure: str, contestant: Contestant, number: int, values: dict[str, float]
    ) -> None:
        failures = values["failures"]
        self._note(
            Measurement(measure, contestant.name, number, values),
            f"{values['rate']:.0f}/s, p50 {values['p50_ms']:.2f} ms, p99 {values['p99_ms']:.2f} ms"
            f", {values['cpu_us']:.0f} µs of CPU per request"
            + (f", {failures:.0f} FAILURES" if failures else ""),
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
