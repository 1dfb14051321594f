"""What is measured: the contestants, and the processes in which they run."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import PROJECT, BenchError
from bench.contestant import Contestant
from bench.models import BenchModel
from bench.otlp_sink import FIRST_EXPORT
from bench.predecessor import MODEL_VARIABLE
from bench.ray_host import RayApplication, many_applications
from serve_app.environment import tracing_environment
from serve_app.model.card import MODEL_FILE, Engine
from serve_app.runtime.ports import free_port
from serve_app.runtime.processes import Command
from serve_app.serve_config import ServeConfig, packaged_config

SAMPLING_RATIOS = ("0", "0.1", "1.0")
START_SECONDS = 120.0
STOP_SECONDS = 60.0
UNTRACED = {"OTEL_TRACES_EXPORTER": "none"}
"""In place of the caller's environment: only `traced_services` pays for tracing."""

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


@contextmanager
def all_contestants(models: Sequence[BenchModel], scratch: Path) -> Iterator[list[Contestant]]:
    """Every system, alive side by side: the one under load has the machine, the others idle."""
    with ExitStack() as stack:
        started = stack.enter_context(_in_ray(models, ("onnx", "sklearn"), scratch))
        for name in _UVICORN_OPTIONS:
            for model in models:
                started.append(stack.enter_context(_fastapi(name, model, scratch)))
        yield started


@contextmanager
def quick_contestants(models: Sequence[BenchModel], scratch: Path) -> Iterator[list[Contestant]]:
    """The ceiling and serve_app with ONNX: more processes would disturb each other."""
    with _in_ray(models, ("onnx",), scratch) as started:
        yield started


@contextmanager
def traced_services(model: BenchModel, scratch: Path) -> Iterator[list[Contestant]]:
    """Our service with tracing off and at each sampling ratio, and a sink for the spans.

    Raises:
        BenchError: no span arrived by the end, so that no cost of tracing was measured.
    """
    port = free_port()
    applications = [_ours("tracing-off", model, "onnx")]
    for ratio in SAMPLING_RATIOS:
        variables = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_TRACES_SAMPLER_ARG": ratio,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        }
        variables |= tracing_environment(variables)
        applications.append(_ours(f"tracing-{ratio}", model, "onnx", variables))
    with _python("otlp-sink", ["bench.otlp_sink", str(port)], scratch) as sink:
        with _ray([(application, model) for application in applications], scratch) as started:
            yield started
        if FIRST_EXPORT not in sink.log():
            raise BenchError("no span arrived at the OTLP sink; see RAY_SERVE_TRACING_* in Ray")


def service(model: BenchModel, scratch: Path, *, dashboard: bool) -> tuple[Command, Contestant]:
    """Our service alone, as a user starts it; not yet started."""
    port = free_port()
    name = f"serve_app{'' if dashboard else '-no-dashboard'}"
    options = ["--config", str(packaged_config()), "--port", str(port)]
    options += [] if dashboard else ["--no-dashboard"]
    module = ["serve_app", "serve", *options, f"model_dir={model.directory}"]
    contestant = Contestant(name, f"http://127.0.0.1:{port}", model)
    return _python(name, module, scratch, UNTRACED), contestant


_UVICORN_OPTIONS = {
    "tuned": ("--loop", "uvloop", "--http", "httptools", "--no-access-log"),
    "predecessor": (),
}
"""Of each module that has a FastAPI application."""


@contextmanager
def _fastapi(module: str, model: BenchModel, scratch: Path) -> Iterator[Contestant]:
    """``bench.<module>`` under uvicorn, once it is ready."""
    port = free_port()
    is_tuned = module == "tuned"
    environment = {MODEL_VARIABLE: str(model.frame_model)}
    if is_tuned:
        environment = {MODEL_VARIABLE: str(model.directory / MODEL_FILE), "OMP_NUM_THREADS": "1"}
    command = ["uvicorn", "--factory", f"bench.{module}:create_app", "--port", str(port)]
    name = f"{module}-{model.name}"
    contestant = Contestant(name, f"http://127.0.0.1:{port}", model, batches=is_tuned)
    options = _UVICORN_OPTIONS[module]
    with _python(name, [*command, *options], scratch, environment) as process:
        process.wait_until(contestant.is_ready, START_SECONDS)
        yield contestant


@contextmanager
def _in_ray(
    models: Sequence[BenchModel], engines: Sequence[Engine], scratch: Path
) -> Iterator[list[Contestant]]:
    """The ceiling, and serve_app with every model in each of ``engines``."""
    body = json.dumps(models[0].answer, separators=(",", ":"))
    ceiling = RayApplication(CEILING, "bench.ceiling:build_app", "Ceiling", {"body": body})
    ours = [
        (_ours(f"ours-{model.name}-{engine}", model, engine), model)
        for engine in engines
        for model in models
    ]
    with _ray([(ceiling, models[0]), *ours], scratch) as started:
        yield started


@contextmanager
def _ray(
    applications: Sequence[tuple[RayApplication, BenchModel]], scratch: Path
) -> Iterator[list[Contestant]]:
    port = free_port()
    template = ServeConfig.read(packaged_config())
    config = many_applications(template, [application for application, _ in applications], port)
    path = scratch / "ray.json"
    path.write_text(json.dumps(config.document), encoding="utf-8")
    contestants = [
        Contestant(
            application.name,
            f"http://127.0.0.1:{port}/{application.name}",
            model,
            batches=application.name.startswith("ours"),
        )
        for application, model in applications
    ]
    with _python("ray", ["bench.ray_host", str(path)], scratch, UNTRACED) as process:
        for contestant in contestants:
            process.wait_until(contestant.is_ready, START_SECONDS)
        yield contestants


def _ours(
    name: str, model: BenchModel, engine: Engine, environment: Mapping[str, str] | None = None
) -> RayApplication:
    return RayApplication(
        name,
        "serve_app.deployment:build_app",
        "Classifier",
        {"model_dir": str(model.directory), "engine": engine},
        environment or {},
    )


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
