"""A replica, as Ray makes it, but in this process."""

import gc
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import ray

from serve_app.autoscaling import CPU_UTILISATION
from serve_app.deployment import GC_THRESHOLD, Classifier, build_app
from serve_app.model.artifact import ArtifactError
from serve_app.model.card import MODEL_FILE, ModelCard
from serve_app.settings import Settings
from tests.support.in_process import post

REPLICA: Any = Classifier.func_or_class  # type: ignore[attr-defined]
"""The class that Ray makes instances of."""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ray's runtime with one CPU, and the thresholds that the garbage collector is given."""
    context = SimpleNamespace(get_assigned_resources=lambda: {"CPU": 1.0})
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    thresholds: list[int] = []
    monkeypatch.setattr(gc, "set_threshold", thresholds.append)
    return thresholds


def test_a_replica_answers_and_reports(
    iris: Path, card: ModelCard, runtime: list[int], log: pytest.LogCaptureFixture
) -> None:
    """It says which model it has loaded, predicts, and measures its own CPU utilisation."""
    replica = REPLICA(Settings(model_dir=iris, engine="sklearn"))
    assert post(replica, card.example).json()["model_version"] == card.version
    assert replica.record_autoscaling_stats()[CPU_UTILISATION] >= 0
    assert runtime == [GC_THRESHOLD]
    (loaded,) = [record for record in log.records if record.getMessage() == "model loaded"]
    fields = loaded.__dict__["fields"]
    assert (fields["model_version"], fields["engine"]) == (card.version, "sklearn")
    assert "120 training rows" in fields["proof"]


def test_a_refused_model_is_in_the_log(
    iris: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """In one line: Ray shows the reason in the middle of a traceback."""
    model = Path(shutil.copytree(iris, tmp_path / "model"))
    (model / MODEL_FILE).write_bytes(b"altered")
    with pytest.raises(ArtifactError, match="SHA-256"):
        REPLICA(Settings(model_dir=model))
    assert any("model refused: " in message and "SHA-256" in message for message in log.messages)


def test_an_application_needs_its_model(iris: Path, tmp_path: Path) -> None:
    """A missing model fails before there is any replica, with one line that click shows."""
    assert build_app(Settings(model_dir=iris))
    with pytest.raises(click.ClickException, match="run `serve-app train`"):
        build_app(Settings(model_dir=tmp_path / "nowhere"))
    with pytest.raises(click.ClickException, match="there is no protocol of this name"):
        build_app(Settings(model_dir=iris, protocols=("none",)))
