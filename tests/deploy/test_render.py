"""deploy.render: the generated files are those that it writes, and it refuses what cannot be."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import render

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "path", render.generated_files(), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_no_generated_file_has_drifted(path: Path) -> None:
    """Each is what `serve-app k8s render` writes from today's sources."""
    assert path.read_text(encoding="utf-8") == render.generated_files()[path]


def test_the_committed_release_names_no_image() -> None:
    """Until a release names one, the image cannot be pulled from anybody."""
    committed = render.RELEASE.read_text(encoding="utf-8")
    assert committed == render.release(render.NO_IMAGE, "unknown")


def config(**options: Any) -> dict[str, Any]:
    scaling = {"min_replicas": 2, "max_replicas": 5}
    deployment = {"autoscaling_config": scaling, "ray_actor_options": {"num_cpus": 1}} | options
    return {"applications": [{"deployments": [deployment]}]}


@pytest.mark.parametrize(
    ("options", "cpus", "expected"),
    [
        ({}, 1, (2, 5)),
        ({}, 2, (1, 3)),
        ({}, 3, (1, 2)),
        ({"max_surge_percent": 20}, 1, (2, 6)),
        ({"max_surge_percent": 21}, 1, (2, 7)),
        ({"ray_actor_options": {"num_cpus": 2}}, 2, (2, 5)),
        ({"ray_actor_options": {"num_cpus": 0.5}}, 1, (1, 3)),
    ],
)
def test_workers(options: dict[str, Any], cpus: int, expected: tuple[int, int]) -> None:
    """As many workers as the replicas need, with those that an update starts on top."""
    assert render.workers(config(**options), cpus) == expected


@pytest.mark.parametrize(("least", "stay"), [(1, 1), (2, 1), (3, 2), (5, 4)])
def test_all_but_one_of_the_lasting_workers_stay(least: int, stay: int) -> None:
    """A budget of all would stop every node upgrade; the last worker never leaves."""
    (operation,) = yaml.safe_load(render.generated_budget({"min_replicas": least}))
    assert operation == {"op": "add", "path": "/spec/minAvailable", "value": stay}


@pytest.mark.parametrize(("cpus", "replica"), [(1, 2), (3, 2)])
def test_cpus_that_no_replica_can_use_are_refused(cpus: int, replica: int) -> None:
    """A worker whose CPUs are no multiple of a replica's would pay for idle ones."""
    with pytest.raises(render.RenderError, match=f"workers of {cpus} CPUs do not fit"):
        render.workers(config(ray_actor_options={"num_cpus": replica}), cpus)


def test_the_overlay_differs_only_where_it_says() -> None:
    """Overrides reach the autoscaling of the Serve config, and nothing else."""
    plain, changed = render.serve_config({}), render.serve_config({"min_replicas": 4})
    assert plain == yaml.safe_load(render.SERVE_CONFIG.read_text(encoding="utf-8"))
    assert render.deployment(changed)["autoscaling_config"].pop("min_replicas") == 4
    render.deployment(plain)["autoscaling_config"].pop("min_replicas")
    assert plain == changed


def test_release() -> None:
    """Name and digest of the image go to kustomize, the revision to an annotation."""
    component = yaml.safe_load(render.release(f"europe.example/p/app@{DIGEST}", "abc123"))
    (image,) = component["images"]
    assert image == {
        "name": "serve-app/serve-app",
        "newName": "europe.example/p/app",
        "digest": DIGEST,
    }
    (patch,) = component["patches"]
    assert yaml.safe_load(patch["patch"])[0]["value"] == "abc123"


@pytest.mark.parametrize(
    "image", ["europe.example/p/app:v1", "europe.example/p/app", "app@sha256:12", "a b@" + DIGEST]
)
def test_an_image_without_digest_is_refused(image: str) -> None:
    """A tag may name another image tomorrow."""
    with pytest.raises(render.RenderError, match="is not NAME@sha256:DIGEST"):
        render.release(image, "abc123")


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It writes the files, names them, and ends with 2 and the reason if it cannot."""
    for directory in (*render.AUTOSCALING, "release"):
        (tmp_path / directory).mkdir(parents=True)
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "RELEASE", tmp_path / "release" / "kustomization.yaml")
    assert render.main(["--image", f"app@{DIGEST}", "--revision", "abc123"]) == 0
    assert DIGEST in render.RELEASE.read_text(encoding="utf-8")
    assert str(tmp_path / "base" / "generated.yaml") in capsys.readouterr().out
    assert render.main(["--image", "app:latest"]) == 2
    assert "app:latest" in capsys.readouterr().err
