"""Other model servers serve the file that we serve, from environments of their own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.models import BenchModel
from bench.peers import PEERS, peer_servers, program
from serve_app.errors import UserError


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    """Environments in which each peer's program records how it was started."""
    for peer in PEERS:
        path = tmp_path / "environments" / f"peers-{peer}" / "bin" / peer
        path.parent.mkdir(parents=True)
        path.write_text('#!/bin/sh\necho "$@"\necho "$BENCH_MODELS"\n', encoding="utf-8")
        path.chmod(0o755)
    return tmp_path / "environments"


def test_a_peer_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    """It says which command installs it."""
    with pytest.raises(UserError, match="`nox -s bench -- --peers` makes its environment"):
        program("mlserver", tmp_path)


def test_peers_serve_our_files(
    environments: Path, models: dict[str, BenchModel], tmp_path: Path
) -> None:
    """Each server has a contestant for each model, and the model's own file."""
    servers = peer_servers(list(models.values()), tmp_path, environments)
    names = [contestant.name for _, contestants in servers for contestant in contestants]
    assert names == ["mlserver-lr", "mlserver-mixed", "bentoml-lr", "bentoml-mixed"]
    for model in models.values():
        path = tmp_path / "mlserver" / model.name / "model-settings.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        assert settings["name"] == model.name
        assert Path(settings["parameters"]["uri"]) == model.file
        assert model.file.exists()
    assert peer_servers([replace(models["lr"], name="rf")], tmp_path, environments) == []
    (_, _), (bentoml, contestants) = servers
    with bentoml as process:
        process.wait_until(lambda: process.log().count("\n") == 2, 10)
        arguments, files = process.log().splitlines()
    assert arguments.split()[:2] == ["serve", "bench.bentoml_service:Models"]
    assert contestants[0].url.endswith(arguments.split()[-1])
    assert json.loads(files) == {name: str(model.file) for name, model in models.items()}
