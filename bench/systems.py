"""The processes in which the contestants run."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import PROJECT
from bench.contestants import Contestant
from bench.floor import BODY_VARIABLE
from bench.floor_grpc import MESSAGE_VARIABLE
from bench.models import AT_EVERY_LOAD, BenchModel
from bench.open_inference import constant_answer
from bench.otlp_sink import FIRST_EXPORT
from bench.peers import ONE_THREAD, Server, peer_servers, restless_peers, speaking_peers
from bench.predecessor import CARD_VARIABLE, MODEL_VARIABLE
from bench.ray_host import application, many_applications
from bench.speakers import speaking
from serve_app.environment import tracing_environment
from serve_app.errors import UserError
from serve_app.model.artifact import CARD_FILE
from serve_app.model.card import Engine
from serve_app.runtime.ports import free_port
from serve_app.runtime.processes import Command
from serve_app.serve_config import ServeConfig, packaged_config

SAMPLING_RATIOS = ("0", "0.1", "1.0")
START_SECONDS = 180.0
STOP_SECONDS = 60.0
UNTRACED = {"OTEL_TRACES_EXPORTER": "none"}
"""In place of the caller's environment: only `traced_services` pays for tracing."""

TEMPLATE = ServeConfig.read(packaged_config())
CEILING, FLOOR = "ceiling", "floor"
FAST = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")
"""Options of uvicorn for speed."""


def all_contestants(
    models: Sequence[BenchModel], scratch: Path, *, peers: bool
) -> AbstractContextManager[list[Contestant]]:
    """The systems, alive side by side: the one under load has the machine, the others idle."""
    servers = [_predecessor(model, scratch) for model in models]
    # What was written for speed was written for the four numbers of Iris.
    servers += [_tuned(model, scratch) for model in models if model.name in AT_EVERY_LOAD]
    servers.append(_floor(models[0], scratch))
    if peers:
        servers += peer_servers(models, scratch)
    return _started([_in_ray(models, ("onnx", "sklearn"), scratch), *servers])


def restless_contestants(
    models: Sequence[BenchModel], scratch: Path
) -> Iterator[AbstractContextManager[list[Contestant]]]:
    """The peers that do not idle, each of which is started when its turn comes."""
    for server in restless_peers(models, scratch):
        yield _started([server])


def in_ray(
    models: Sequence[BenchModel], engines: Sequence[Engine], scratch: Path
) -> AbstractContextManager[list[Contestant]]:
    """The ceiling, and serve_app with every model in each of ``engines``."""
    return _started([_in_ray(models, engines, scratch)])


def _in_ray(models: Sequence[BenchModel], engines: Sequence[Engine], scratch: Path) -> Server:
    args = {"body": _constant(models[0])}
    ceiling = application(TEMPLATE, CEILING, "bench.ceiling:build_app", "Ceiling", args=args)
    ours = [
        (_ours(f"ours-{model.name}-{engine}", model, engine), model)
        for engine in engines
        for model in models
    ]
    # Beside the direct path, what it saves.
    served = _ours(f"served-{models[0].name}", models[0], "onnx", args={"direct_path": False})
    return _ray([(ceiling, models[0]), *ours, (served, models[0])], scratch)


def _constant(model: BenchModel) -> str:
    """What the ceiling and the floor answer: as long as an answer of ours."""
    return json.dumps(model.answer, separators=(",", ":"))


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
        with _started([_ray(services, scratch)]) as started:
            yield started
        if FIRST_EXPORT not in sink.log():
            raise UserError("no span arrived at the OTLP sink; see RAY_SERVE_TRACING_* in Ray")


def speakers(
    model: BenchModel, scratch: Path, *, peers: bool
) -> AbstractContextManager[list[Contestant]]:
    """Our service, gRPC's floor and, if wanted, peers, in each protocol that they speak."""
    ours = _ray([(_ours("ours", model, "onnx"), model)], scratch, free_port())
    servers = [ours, _floor_grpc(model, scratch)]
    servers += speaking_peers(model, scratch) if peers else []
    return _started(list(map(speaking, servers)))


def services(
    model: BenchModel, scratch: Path, *, peers: bool
) -> Iterator[tuple[Command, Contestant]]:
    """Our service, and each peer, to be started alone, as a user does; not yet started."""
    for dashboard in (False, True):
        yield _service(model, scratch, dashboard=dashboard)
    if peers:
        for make in (peer_servers, restless_peers):
            for process, (contestant,) in make([model], scratch):
                yield process, contestant


def _service(model: BenchModel, scratch: Path, *, dashboard: bool) -> tuple[Command, Contestant]:
    port = free_port()
    name = "serve_app" if dashboard else "serve_app-no-dashboard"
    options = ["--config", str(packaged_config()), "--port", str(port)]
    options += [] if dashboard else ["--no-dashboard"]
    module = ["serve_app", "serve", *options, f"model_dir={model.directory}"]
    process = _python(name, module, scratch, UNTRACED)
    return process, Contestant(name, f"http://127.0.0.1:{port}", model, process)


def _predecessor(model: BenchModel, scratch: Path) -> Server:
    card = str(model.directory / CARD_FILE)
    environment = {MODEL_VARIABLE: str(model.frame_model), CARD_VARIABLE: card}
    if model.name not in AT_EVERY_LOAD:
        # As for the others: threads that boosted trees start would fight with the load generator.
        environment |= ONE_THREAD
    return _uvicorn("predecessor", model, scratch, environment)


def _tuned(model: BenchModel, scratch: Path) -> Server:
    environment = {MODEL_VARIABLE: str(model.file), **ONE_THREAD}
    return _uvicorn("tuned", model, scratch, environment, FAST, batches=True)


def _floor(model: BenchModel, scratch: Path) -> Server:
    options = [*FAST, "--lifespan", "off"]
    environment = {BODY_VARIABLE: _constant(model)}
    process, (contestant,) = _uvicorn(FLOOR, model, scratch, environment, options)
    return process, [replace(contestant, name=FLOOR)]


def _floor_grpc(model: BenchModel, scratch: Path) -> Server:
    port, environment = free_port(), {MESSAGE_VARIABLE: constant_answer(model).hex()}
    process = _python("floor-grpc", ["bench.floor_grpc", str(port)], scratch, environment)
    return process, [Contestant(FLOOR, "", model, process, grpc_port=port)]


def _uvicorn(
    module: str,
    model: BenchModel,
    scratch: Path,
    environment: Mapping[str, str],
    options: Sequence[str] = (),
    *,
    batches: bool = False,
) -> Server:
    """``bench.<module>`` under uvicorn."""
    port, name = free_port(), f"{module}-{model.name}"
    command = ["uvicorn", "--factory", f"bench.{module}:create_app", "--port", str(port), *options]
    process = _python(name, command, scratch, environment)
    return process, [Contestant(name, f"http://127.0.0.1:{port}", model, process, batches)]


def _ray(
    applications: Sequence[tuple[dict[str, Any], BenchModel]],
    scratch: Path,
    grpc_port: int | None = None,
) -> Server:
    port = free_port()
    found = [application for application, _ in applications]
    config = many_applications(TEMPLATE, found, port, grpc_port)
    path = scratch / "ray.json"
    path.write_text(json.dumps(config.document), encoding="utf-8")
    process = _python("ray", ["bench.ray_host", str(path)], scratch, UNTRACED)
    address = f"http://127.0.0.1:{port}"
    contestants = [
        Contestant(
            name,
            f"{address}/{name}",
            model,
            process,
            batches=name.startswith("ours"),
            grpc_port=grpc_port,
        )
        for name, model in ((found["name"], model) for found, model in applications)
    ]
    return process, contestants


@contextmanager
def _started(servers: Sequence[Server]) -> Iterator[list[Contestant]]:
    """Start all at once, and wait until each answers."""
    with ExitStack() as stack:
        for process, _ in servers:
            stack.enter_context(process)
        for process, contestants in servers:
            for contestant in contestants:
                process.wait_until(contestant.is_ready, START_SECONDS)
        yield [contestant for _, contestants in servers for contestant in contestants]


def _ours(
    name: str,
    model: BenchModel,
    engine: Engine,
    environment: Mapping[str, str] | None = None,
    *,
    args: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    args = {"model_dir": str(model.directory), "engine": engine, **(args or {})}
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
