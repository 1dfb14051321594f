"""What is measured: the contestants, and the processes in which they run."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import PROJECT
from bench.models import BenchModel
from bench.otlp_sink import FIRST_EXPORT
from bench.predecessor import MODEL_VARIABLE
from bench.ray_host import application, many_applications
from serve_app.client import ServiceClient, ServiceError
from serve_app.environment import tracing_environment
from serve_app.errors import UserError
from serve_app.model.card import MODEL_FILE, Engine
from serve_app.runtime.ports import free_port
from serve_app.runtime.processes import Command
from serve_app.serve_config import ServeConfig, packaged_config

BATCH_ROWS = 100
TIMEOUT_SECONDS = 30.0
TOLERANCE = 1e-3
SAMPLING_RATIOS = ("0", "0.1", "1.0")
START_SECONDS = 120.0
STOP_SECONDS = 60.0
UNTRACED = {"OTEL_TRACES_EXPORTER": "none"}
"""In place of the caller's environment: only `traced_services` pays for tracing."""

TEMPLATE = ServeConfig.read(packaged_config())
CEILING = "ceiling"
DESCRIPTIONS: Mapping[str, str] = {
    CEILING: "Ray Serve, same production mode and deployment options, handler returns a constant",
    "ours-*-onnx": "serve_app, engine onnx",
    "ours-*-sklearn": "serve_app, engine sklearn",
    "tuned-*": "FastAPI written for speed: coroutine handler, numpy row, assume_finite, orjson, "
    "uvicorn with uvloop and httptools, no access log, one worker, OMP_NUM_THREADS=1",
    "predecessor-*": "FastAPI, synchronous handler, DataFrame per request, predict and "
    "predict_proba, uvicorn defaults, one worker, access log to a file",
}


@dataclass(frozen=True)
class Contestant:
    """A system under load, in a process that runs."""

    name: str
    url: str
    """Address without the path of the endpoint."""
    model: BenchModel
    batches: bool = False
    """It has a batch endpoint that is measured."""

    def request(self, rows: int = 1) -> tuple[str, bytes]:
        """Address and body of a request for the sample, alone or ``rows`` times."""
        example = self.model.card.example
        if rows == 1:
            return f"{self.url}/predict/", json.dumps(example).encode()
        return f"{self.url}/predict/batch/", json.dumps({"instances": [example] * rows}).encode()

    def is_ready(self) -> bool:
        """Whether the sample is answered with a 200."""
        try:
            with ServiceClient(self.url, timeout_seconds=TIMEOUT_SECONDS) as client:
                client.predict(self.model.card.example)
        except ServiceError:
            return False
        return True

    def check(self) -> None:
        """Compare the answers to the sample, alone and as a batch, with the model card.

        Raises:
            ServiceError: no answer.
            UserError: a wrong answer; its speed is of no interest.
        """
        example, expected = self.model.card.example, self.model.answer
        with ServiceClient(self.url, timeout_seconds=TIMEOUT_SECONDS) as client:
            answers = [client.predict(example)]
            if self.batches:
                answers += client.predict_batch([example] * BATCH_ROWS)[-1:]
        for found in answers:
            difference = max(
                abs(found["probabilities"][label] - probability)
                for label, probability in expected["probabilities"].items()
            )
            if found["predicted_class"] != expected["predicted_class"] or difference > TOLERANCE:
                raise UserError(f"{self.name} answered {found}, not {expected}")


@contextmanager
def all_contestants(models: Sequence[BenchModel], scratch: Path) -> Iterator[list[Contestant]]:
    """Every system, alive side by side: the one under load has the machine, the others idle."""
    with ExitStack() as stack:
        started = stack.enter_context(in_ray(models, ("onnx", "sklearn"), scratch))
        for name in ("tuned", "predecessor"):
            for model in models:
                started.append(stack.enter_context(_fastapi(name, model, scratch)))
        yield started


def in_ray(
    models: Sequence[BenchModel], engines: Sequence[Engine], scratch: Path
) -> AbstractContextManager[list[Contestant]]:
    """The ceiling, and serve_app with every model in each of ``engines``."""
    body = json.dumps(models[0].answer, separators=(",", ":"))
    ceiling = application(
        TEMPLATE, CEILING, "bench.ceiling:build_app", "Ceiling", args={"body": body}
    )
    ours = [
        (_ours(f"ours-{model.name}-{engine}", model, engine), model)
        for engine in engines
        for model in models
    ]
    return _ray([(ceiling, models[0]), *ours], scratch)


@contextmanager
def traced_services(model: BenchModel, scratch: Path) -> Iterator[list[Contestant]]:
    """Our service with tracing off and at each sampling ratio, and a sink for the spans.

    Raises:
        UserError: no span arrived by the end, so that no cost of tracing was measured.
    """
    port = free_port()
    services = [(_ours("tracing-off", model, "onnx"), model)]
    for ratio in SAMPLING_RATIOS:
        variables = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_TRACES_SAMPLER_ARG": ratio,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        }
        variables |= tracing_environment(variables)
        services.append((_ours(f"tracing-{ratio}", model, "onnx", variables), model))
    with _python("otlp-sink", ["bench.otlp_sink", str(port)], scratch) as sink:
        with _ray(services, scratch) as started:
            yield started
        if FIRST_EXPORT not in sink.log():
            raise UserError("no span arrived at the OTLP sink; see RAY_SERVE_TRACING_* in Ray")


def service(model: BenchModel, scratch: Path, *, dashboard: bool) -> tuple[Command, Contestant]:
    """Our service alone, as a user starts it; not yet started."""
    port = free_port()
    name = "serve_app" if dashboard else "serve_app-no-dashboard"
    options = ["--config", str(packaged_config()), "--port", str(port)]
    options += [] if dashboard else ["--no-dashboard"]
    module = ["serve_app", "serve", *options, f"model_dir={model.directory}"]
    contestant = Contestant(name, f"http://127.0.0.1:{port}", model)
    return _python(name, module, scratch, UNTRACED), contestant


@contextmanager
def _fastapi(module: str, model: BenchModel, scratch: Path) -> Iterator[Contestant]:
    """``bench.<module>`` under uvicorn, once it is ready."""
    port, is_tuned = free_port(), module == "tuned"
    environment = {MODEL_VARIABLE: str(model.frame_model)}
    command = ["uvicorn", "--factory", f"bench.{module}:create_app", "--port", str(port)]
    if is_tuned:
        environment = {MODEL_VARIABLE: str(model.directory / MODEL_FILE), "OMP_NUM_THREADS": "1"}
        command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    name = f"{module}-{model.name}"
    contestant = Contestant(name, f"http://127.0.0.1:{port}", model, batches=is_tuned)
    with _python(name, command, scratch, environment) as process:
        process.wait_until(contestant.is_ready, START_SECONDS)
        yield contestant


@contextmanager
def _ray(
    applications: Sequence[tuple[dict[str, Any], BenchModel]], scratch: Path
) -> Iterator[list[Contestant]]:
    port = free_port()
    config = many_applications(TEMPLATE, [found for found, _ in applications], port)
    path = scratch / "ray.json"
    path.write_text(json.dumps(config.document), encoding="utf-8")
    contestants = [
        Contestant(name, f"http://127.0.0.1:{port}/{name}", model, batches=name.startswith("ours"))
        for name, model in ((found["name"], model) for found, model in applications)
    ]
    with _python("ray", ["bench.ray_host", str(path)], scratch, UNTRACED) as process:
        for contestant in contestants:
            process.wait_until(contestant.is_ready, START_SECONDS)
        yield contestants


def _ours(
    name: str, model: BenchModel, engine: Engine, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    args = {"model_dir": str(model.directory), "engine": engine}
    builder = "serve_app.deployment:build_app"
    return application(TEMPLATE, name, builder, "Classifier", args=args, environment=environment)


def _python(
    name: str, module: Sequence[str], scratch: Path, environment: Mapping[str, str] | None = None
) -> Command:
    return Command(
        [sys.executable, "-m", *module],
        log=scratch / f"{name}.log",
        environment=environment,
        directory=PROJECT,
        stop_seconds=STOP_SECONDS,
    )
