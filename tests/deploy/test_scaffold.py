"""``serve-app init`` writes what a deployment starts from, and never over a user's file."""

from pathlib import Path

import pytest
import yaml

from deploy.scaffold import scaffold
from serve_app.cli.main import main
from serve_app.serve_config import ServeConfig, packaged_config


def test_everything_is_written(tmp_path: Path) -> None:
    """Config, Dockerfile and manifests are there, and every kustomization finds its files."""
    written, kept = scaffold(tmp_path / "new")
    assert not kept
    assert {path.parts[0] for path in written} == {
        *("serve_config.yaml", "Dockerfile", ".dockerignore", "kuberay")
    }
    config = ServeConfig.read(tmp_path / "new" / "serve_config.yaml")
    assert config.document == ServeConfig.read(packaged_config()).document
    for file in (tmp_path / "new").rglob("kustomization.yaml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for name in [*content.get("resources", []), *content.get("components", [])]:
            assert (file.parent / name).exists(), f"{file}: {name}"


def test_a_users_file_stays(tmp_path: Path) -> None:
    """A second run writes only what is missing."""
    (tmp_path / "Dockerfile").write_text("mine", encoding="utf-8")
    written, kept = scaffold(tmp_path)
    assert kept == [Path("Dockerfile")]
    assert Path("Dockerfile") not in written
    assert (tmp_path / "Dockerfile").read_text(encoding="utf-8") == "mine"
    assert scaffold(tmp_path)[0] == []


def test_a_directory_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the directory."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["init", str(tmp_path / "file" / "below")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written to" in line


def test_the_command_says_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lists what it wrote and the commands that follow."""
    assert main(["init", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "serve_config.yaml" in said
    assert "serve-app serve" in said
