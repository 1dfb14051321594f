"""Other model servers serve the file that we serve, from environments of their own."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.contestants import Contestant
from bench.models import BenchModel
from bench.peers import (
    PEERS,
    PROGRAMS,
    Server,
    peer_servers,
    program,
    restless_peers,
    speaking_peers,
)
from serve_app.errors import UserError
from tests.support.service import PROJECT

RECORD = """#!/bin/sh
echo "$@"
echo "$BENCH_MODELS"
"""
SAVE = """#!/bin/sh
test "$1 $2" = "-m bench.mlflow_model" || exit 1
echo "$3" > "$4"
"""
LOADS_THE_FILE = ("joblib", "numpy", "scikit-learn", "scipy")


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    """Environments in which each peer's program records how it was started."""
    for peer, name in PROGRAMS.items():
        _script(tmp_path / "environments" / f"peers-{peer}" / "bin" / name, RECORD)
    _script(tmp_path / "environments" / "peers-mlflow" / "bin" / "python", SAVE)
    return tmp_path / "environments"


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def started(server: Server) -> tuple[list[str], str, list[Contestant]]:
    """Arguments of a peer, the files it was told of, and its contestants."""
    command, contestants = server
    with command as process:
        process.wait_until(lambda: process.log().count("\n") == 2, 10)
        arguments, files = process.log().splitlines()
    return arguments.split(), files, contestants


def test_a_peer_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    """It says which command installs it."""
    with pytest.raises(UserError, match="`nox -s bench -- --peers` makes its environment"):
        program("mlserver", tmp_path)


def test_peers_serve_our_files(
    environments: Path, models: dict[str, BenchModel], tmp_path: Path
) -> None:
    """Each server has a contestant for each model, and the model's own file."""
    servers = [
        *peer_servers(list(models.values()), tmp_path, environments),
        *restless_peers(list(models.values()), tmp_path, environments),
    ]
    names = [contestant.name for _, contestants in servers for contestant in contestants]
    assert sorted(names) == sorted(f"{peer}-{model}" for peer in PEERS for model in models)
    for model in models.values():
        path = tmp_path / "mlserver" / model.name / "model-settings.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        assert settings["name"] == model.name
        assert Path(settings["parameters"]["uri"]) == model.file
        assert model.file.exists()
    iris = [replace(models["lr"], name="rf")]
    assert peer_servers(iris, tmp_path, environments) == []
    assert restless_peers(iris, tmp_path, environments) == []


@pytest.mark.parametrize(
    ("peer", "service"),
    [
        ("bentoml", ["serve", "bench.bentoml_service:Models"]),
        ("kserve", ["-m", "bench.kserve_server"]),
        ("litserve", ["-m", "bench.litserve_server"]),
    ],
)
def test_a_service_of_ours_is_told_its_port_and_files(
    peer: str,
    service: list[str],
    environments: Path,
    models: dict[str, BenchModel],
    tmp_path: Path,
) -> None:
    """A peer without a format of model directories runs a service that loads the files."""
    both = list(models.values())
    servers = [
        *peer_servers(both, tmp_path, environments),
        *restless_peers(both, tmp_path, environments),
    ]
    (server,) = [each for each in servers if each[1][0].name == f"{peer}-lr"]
    arguments, files, contestants = started(server)
    assert arguments[:2] == service
    assert contestants[0].url.rpartition(":")[2] in arguments
    assert json.loads(files) == {name: str(model.file) for name, model in models.items()}


def test_those_that_speak_several_protocols_are_told_the_port_of_grpc(
    environments: Path, models: dict[str, BenchModel], tmp_path: Path
) -> None:
    """One model, over REST and gRPC; a model that they do not serve has none of them."""
    mlserver, kserve = speaking_peers(models["lr"], tmp_path, environments)
    _, (contestant,) = mlserver
    settings = json.loads((tmp_path / "mlserver" / "settings.json").read_text(encoding="utf-8"))
    assert settings["grpc_port"] == contestant.grpc_port
    assert contestant.url == f"http://127.0.0.1:{settings['http_port']}"
    arguments, _, (contestant,) = started(kserve)
    assert arguments[arguments.index("--enable_grpc") + 1] == "true"
    assert arguments[arguments.index("--grpc_port") + 1] == str(contestant.grpc_port)
    assert speaking_peers(replace(models["lr"], name="rf"), tmp_path, environments) == []


def test_mlflow_serves_what_it_has_saved(
    environments: Path, models: dict[str, BenchModel], tmp_path: Path
) -> None:
    """It saves the estimator of our file once, and has a server for each model."""
    (server,) = peer_servers([models["lr"]], tmp_path, environments)[3:]
    saved = tmp_path / "mlflow-lr"
    assert saved.read_text(encoding="utf-8").strip() == str(models["lr"].file)
    saved.write_text("not again", encoding="utf-8")
    peer_servers([models["lr"]], tmp_path, environments)
    assert saved.read_text(encoding="utf-8") == "not again"
    arguments, _, (contestant,) = started(server)
    assert arguments[:4] == ["models", "serve", "--model-uri", str(saved)]
    assert contestant.url.rpartition(":")[2] in arguments


def test_a_model_that_mlflow_does_not_save_is_an_error(
    environments: Path, models: dict[str, BenchModel], tmp_path: Path
) -> None:
    """It says why, before the server waits for the model."""
    _script(environments / "peers-mlflow" / "bin" / "python", "#!/bin/sh\necho no >&2; exit 1\n")
    with pytest.raises(UserError, match="MLflow does not save lr: no"):
        peer_servers([models["lr"]], tmp_path, environments)


@pytest.mark.parametrize("peer", PROGRAMS)
def test_a_peer_is_locked_with_our_versions(peer: str) -> None:
    """It loads the same file with the same libraries, or the comparison is of those."""
    ours, theirs = (pins(f"locks/{name}.txt") for name in ("dev", f"peers-{peer}"))
    assert peer in theirs
    for name in LOADS_THE_FILE:
        assert theirs[name] == ours[name]


def pins(path: str) -> dict[str, set[str]]:
    """Versions of each package in a lock; several where they depend on the Python."""
    found: dict[str, set[str]] = {}
    text = (PROJECT / path).read_text(encoding="utf-8")
    for name, version in re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found
