"""Other model servers, each in a locked environment of its own, with the file that we serve too.

``nox -s bench -- --peers`` makes the environments.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from bench import PROJECT
from bench.contestants import Contestant, Dialect, OpenInference, RowsOfApi
from bench.models import BenchModel
from serve_app.errors import UserError
from serve_app.runtime.ports import free_port
from serve_app.runtime.processes import Command

PEERS = ("mlserver", "bentoml")
ENVIRONMENTS = PROJECT / ".nox"
"""Each peer's is ``peers-NAME`` there; noxfile.py makes it."""
MODELS = ("lr", "mixed", "hgb")
"""What they serve."""
STOP_SECONDS = 20.0
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
MLSERVER_BATCH_ROWS = 32
MLSERVER_BATCH_SECONDS = 0.01


def program(peer: str, environments: Path | None = None) -> Path:
    """The command that starts a peer.

    Raises:
        UserError: it is not installed; says how to install it.
    """
    path = (environments or ENVIRONMENTS) / f"peers-{peer}" / "bin" / peer
    if not path.exists():
        raise UserError(f"{path} is missing; `nox -s bench -- --peers` makes its environment")
    return path


def peer_servers(
    models: Sequence[BenchModel], scratch: Path, environments: Path | None = None
) -> list[tuple[Command, list[Contestant]]]:
    """The peers, not yet started, each with one contestant for each model that it serves.

    Raises:
        UserError: one is not installed.
    """
    served = [model for model in models if model.name in MODELS]
    if not served:
        return []
    mlserver, bentoml = (program(peer, environments) for peer in PEERS)
    return [_mlserver(mlserver, served, scratch), _bentoml(bentoml, served, scratch)]


def _mlserver(
    path: Path, models: Sequence[BenchModel], scratch: Path
) -> tuple[Command, list[Contestant]]:
    """In one process: its default of one worker process ends at once with uvloop 0.23.

    With an older uvloop the worker was neither faster nor slower.
    """
    home, port = scratch / "mlserver", free_port()
    for model in models:
        settings = {
            "name": model.name,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(model.file)},
            "max_batch_size": MLSERVER_BATCH_ROWS,
            "max_batch_time": MLSERVER_BATCH_SECONDS,
        }
        _write(home / model.name / "model-settings.json", settings)
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
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
    return process, _contestants("mlserver", models, port, process, OpenInference())


def _bentoml(
    path: Path, models: Sequence[BenchModel], scratch: Path
) -> tuple[Command, list[Contestant]]:
    home, port = scratch / "bentoml", free_port()
    home.mkdir(exist_ok=True)
    address = ["--host", "127.0.0.1", "--port", str(port)]
    process = Command(
        [str(path), "serve", "bench.bentoml_service:Models", *address],
        log=scratch / "bentoml.log",
        environment={
            **ONE_THREAD,
            "BENCH_MODELS": json.dumps({model.name: str(model.file) for model in models}),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(home),
        },
        directory=PROJECT,
        stop_seconds=STOP_SECONDS,
    )
    return process, _contestants("bentoml", models, port, process, RowsOfApi())


def _contestants(
    peer: str, models: Sequence[BenchModel], port: int, process: Command, dialect: Dialect
) -> list[Contestant]:
    return [
        Contestant(
            f"{peer}-{model.name}",
            f"http://127.0.0.1:{port}",
            model,
            process,
            batches=True,
            dialect=dialect,
        )
        for model in models
    ]


def _write(path: Path, document: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
