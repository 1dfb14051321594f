"""Other model servers, with the file that we serve too.

Each is in a locked environment of its own, which ``nox -s bench -- --peers`` makes; Ray Serve as
its guide shows it has ours, for it is the same Ray.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import PROJECT
from bench.contestants import Contestant
from bench.dialects import Dialect, Invocations, OpenInference, ProtocolV1, RowsOfApi
from bench.models import BenchModel
from serve_app.errors import UserError, excerpt
from serve_app.runtime.ports import free_port
from serve_app.runtime.processes import LOG_TAIL, Command

PROGRAMS = {
    "mlserver": "mlserver",
    "bentoml": "bentoml",
    "kserve": "python",
    "litserve": "python",
    "mlflow": "mlflow",
}
"""The command of each peer in its environment."""
RAY_SERVE_ONGOING = 100
RAY_SERVES = {"rayserve": "", f"rayserve{RAY_SERVE_ONGOING}": str(RAY_SERVE_ONGOING)}
"""Ray Serve with its default of 5 requests at once per replica, and with more: at 32 connections
the default costs it most of its rate."""
PEERS = (*PROGRAMS, *RAY_SERVES)
"""As they stand in the names of the contestants."""
ENVIRONMENTS = PROJECT / ".nox"
"""Each peer's is ``peers-NAME`` there; noxfile.py makes it."""
MODELS = ("lr", "mixed", "hgb")
"""What they serve."""
SAVE_SECONDS = 120.0
STOP_SECONDS = 20.0
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
Server = tuple[Command, list[Contestant]]
"""A process, not yet started, and the contestants in it."""
MLSERVER_BATCH_ROWS = 32
MLSERVER_BATCH_SECONDS = 0.01
LITSERVE_BATCH_REQUESTS = 64
LITSERVE_BATCH_SECONDS = 0.001
"""It waits so long for each batch, because this benchmark never has as many requests at once."""


def program(peer: str, environments: Path | None = None, name: str = "") -> Path:
    """A command in the environment of a peer; by default the one that starts it.

    Raises:
        UserError: it is not installed; says how to install it.
    """
    bin_ = (environments or ENVIRONMENTS) / f"peers-{peer}" / "bin"
    path = bin_ / (name or PROGRAMS[peer])
    if not path.exists():
        raise UserError(f"{path} is missing; `nox -s bench -- --peers` makes its environment")
    return path


def peer_servers(
    models: Sequence[BenchModel], scratch: Path, environments: Path | None = None
) -> list[Server]:
    """The peers that idle quietly, not yet started, with a contestant for each model they serve.

    Raises:
        UserError: one is not installed.
    """
    served = [model for model in models if model.name in MODELS]
    if not served:
        return []
    path = {peer: program(peer, environments) for peer in PROGRAMS}
    return [
        _mlserver(path["mlserver"], served, scratch),
        _bentoml(path["bentoml"], served, scratch),
        _kserve(path["kserve"], served, scratch),
        *(_mlflow(path["mlflow"], model, scratch) for model in served),
    ]


def restless_peers(
    models: Sequence[BenchModel], scratch: Path, environments: Path | None = None
) -> list[Server]:
    """The peers that are no good neighbours, as `peer_servers`.

    While they idle, LitServe's workers look for requests a thousand times per second, and Ray's
    processes for each other.

    Raises:
        UserError: one is not installed.
    """
    served = [model for model in models if model.name in MODELS]
    if not served:
        return []
    return [
        _litserve(program("litserve", environments), served, scratch),
        *(_ray_serve(name, served, scratch) for name in RAY_SERVES),
    ]


def speaking_peers(
    model: BenchModel, scratch: Path, environments: Path | None = None
) -> list[Server]:
    """The peers that speak the Open Inference Protocol V2, over REST and gRPC, not yet started.

    Raises:
        UserError: one is not installed.
    """
    if model.name not in MODELS:
        return []
    mlserver, kserve = (program(name, environments) for name in ("mlserver", "kserve"))
    return [_mlserver(mlserver, [model], scratch), _kserve(kserve, [model], scratch, grpc=True)]


def _mlserver(path: Path, models: Sequence[BenchModel], scratch: Path) -> Server:
    """In one process: its default of one worker process ends at once with uvloop 0.23.

    With an older uvloop the worker was neither faster nor slower.
    """
    home, port, grpc_port = scratch / "mlserver", free_port(), free_port()
    for model in models:
        settings = {
            "name": model.name,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(model.file)},
            "max_batch_size": MLSERVER_BATCH_ROWS,
            "max_batch_time": MLSERVER_BATCH_SECONDS,
        }
        _write(home / model.name / "model-settings.json", settings)
    ports = {"http_port": port, "grpc_port": grpc_port, "metrics_port": free_port()}
    _write(
        home / "settings.json",
        {"debug": False, "host": "127.0.0.1", "parallel_workers": 0, **ports},
    )
    process = Command(
        [str(path), "start", str(home)],
        log=scratch / "mlserver.log",
        environment=ONE_THREAD,
        directory=home,
        stop_seconds=STOP_SECONDS,
    )
    return process, _contestants(
        "mlserver", models, port, process, OpenInference(), grpc_port=grpc_port
    )


def _bentoml(path: Path, models: Sequence[BenchModel], scratch: Path) -> Server:
    home, port = scratch / "bentoml", free_port()
    home.mkdir(exist_ok=True)
    address = ["--host", "127.0.0.1", "--port", str(port)]
    process = Command(
        [str(path), "serve", "bench.bentoml_service:Models", *address],
        log=scratch / "bentoml.log",
        environment={
            **ONE_THREAD,
            **_files(models),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(home),
        },
        directory=PROJECT,
        stop_seconds=STOP_SECONDS,
    )
    return process, _contestants("bentoml", models, port, process, RowsOfApi())


def _kserve(
    path: Path, models: Sequence[BenchModel], scratch: Path, *, grpc: bool = False
) -> Server:
    port, grpc_port = free_port(), free_port()
    options = ["--http_port", str(port), "--enable_grpc", str(grpc).lower()]
    options += ["--grpc_port", str(grpc_port)] if grpc else []
    process = Command(
        [str(path), "-m", "bench.kserve_server", *options, "--enable_latency_logging", "false"],
        log=scratch / "kserve.log",
        environment={
            **ONE_THREAD,
            **_files(models),
            # Below it are two lines for each request with its times.
            "KSERVE_LOGLEVEL": "WARNING",
            # FastAPI's about a class that KServe 0.21 uses, at each request.
            "PYTHONWARNINGS": "ignore",
        },
        directory=PROJECT,
        stop_seconds=STOP_SECONDS,
    )
    return process, _contestants("kserve", models, port, process, ProtocolV1(), grpc_port=grpc_port)


def _litserve(path: Path, models: Sequence[BenchModel], scratch: Path) -> Server:
    port = free_port()
    batches = [str(LITSERVE_BATCH_REQUESTS), str(LITSERVE_BATCH_SECONDS)]
    process = Command(
        [str(path), "-m", "bench.litserve_server", str(port), *batches],
        log=scratch / "litserve.log",
        environment={**ONE_THREAD, **_files(models)},
        directory=PROJECT,
        stop_seconds=STOP_SECONDS,
    )
    return process, _contestants("litserve", models, port, process, RowsOfApi())


def _mlflow(path: Path, model: BenchModel, scratch: Path) -> Server:
    """A server for one model: it has no more."""
    home, port = scratch / f"mlflow-{model.name}", free_port()
    environment = {
        **ONE_THREAD,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # It starts uvicorn by its name, and has no option against the access log.
        "PATH": f"{path.parent}{os.pathsep}{os.environ['PATH']}",
        "UVICORN_ACCESS_LOG": "false",
    }
    if not home.exists():
        _save(path.parent / "python", model, home, environment)
    address = ["--host", "127.0.0.1", "--port", str(port)]
    options = ["--workers", "1", "--env-manager", "local"]
    process = Command(
        [str(path), "models", "serve", "--model-uri", str(home), *address, *options],
        log=scratch / f"mlflow-{model.name}.log",
        environment=environment,
        directory=scratch,
        stop_seconds=STOP_SECONDS,
        stop_tree=True,
    )
    return process, _contestants("mlflow", [model], port, process, Invocations())


def _save(python: Path, model: BenchModel, home: Path, environment: Mapping[str, str]) -> None:
    """Save an estimator in MLflow's form.

    Raises:
        UserError: MLflow does not save it.
    """
    done = subprocess.run(
        [str(python), "-m", "bench.mlflow_model", str(model.file), str(home)],
        env={**os.environ, **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=SAVE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise UserError(f"MLflow does not save {model.name}: {excerpt(done.stderr[-LOG_TAIL:])}")


def _ray_serve(name: str, models: Sequence[BenchModel], scratch: Path) -> Server:
    home, port = scratch / name, free_port()
    arguments = filter(None, [str(port), RAY_SERVES[name]])
    home.mkdir(exist_ok=True)
    process = Command(
        [sys.executable, "-m", "bench.ray_serve_app", *arguments],
        log=scratch / f"{name}.log",
        environment={**ONE_THREAD, **_files(models), "RAY_TMPDIR": str(home)},
        directory=PROJECT,
        stop_seconds=STOP_SECONDS,
    )
    return process, _contestants(name, models, port, process, RowsOfApi())


def _files(models: Sequence[BenchModel]) -> dict[str, str]:
    """The variable that tells the services of `bench` which estimators they serve."""
    return {"BENCH_MODELS": json.dumps({model.name: str(model.file) for model in models})}


def _contestants(
    peer: str,
    models: Sequence[BenchModel],
    port: int,
    process: Command,
    dialect: Dialect,
    *,
    grpc_port: int | None = None,
) -> list[Contestant]:
    return [
        Contestant(
            f"{peer}-{model.name}",
            f"http://127.0.0.1:{port}",
            model,
            process,
            batches=True,
            dialect=dialect,
            grpc_port=grpc_port,
        )
        for model in models
    ]


def _write(path: Path, document: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
