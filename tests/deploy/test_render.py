"""``serve-app k8s render``: the generated files are those that it writes; the rest is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import render
from serve_app.cli.main import main
from serve_app.serve_config import CONFIG_FILE, ServeConfig, packaged_config
from tests.support.command_lines import refused

PROJECT = Path(__file__).parents[2]
DIGEST = "sha256:" + "0123456789abcdef" * 4
COMMITTED = render.Manifests.open(PROJECT).generated_files()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What `serve-app init` writes: manifests, and a Serve config to change."""
    shutil.copytree(PROJECT / "kuberay", tmp_path / "kuberay")
    shutil.copy(PROJECT / CONFIG_FILE, tmp_path)
    return tmp_path


def change(path: Path, edit: Callable[[Any], None]) -> None:
    """Edit a YAML document in place."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    edit(document)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def deployment_of(document: Any) -> Any:
    return document["applications"][0]["deployments"][0]


def worker_of(document: Any) -> Any:
    (group,) = document["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return group["template"]["spec"]["containers"][0]


def values(path: Path) -> dict[str, Any]:
    """The values of a JSON patch, by the last part of their path."""
    operations = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {each["path"].rpartition("/")[2]: each["value"] for each in operations}


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_generated_file_has_drifted(path: Path) -> None:
    """Each is what `serve-app k8s render` writes from today's sources."""
    assert path.read_text(encoding="utf-8") == COMMITTED[path]


def test_the_committed_release_names_no_image() -> None:
    """Until a release names one, the image cannot be pulled from anywhere."""
    committed = (PROJECT / render.RELEASE).read_text(encoding="utf-8")
    assert committed == render.release(render.NO_IMAGE, "unknown")


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
        ({"ray_actor_options": {"num_cpus": 0.1}}, 1, (1, 1)),
    ],
)
def test_workers(options: dict[str, Any], cpus: int, expected: tuple[int, int]) -> None:
    """As many workers as the replicas need, with those that an update starts on top."""
    config = ServeConfig.read(packaged_config()).override(
        deployment={"max_surge_percent": None} | options,
        autoscaling={"min_replicas": 2, "max_replicas": 5},
    )
    assert render.worker_range(config, cpus) == expected


@pytest.mark.parametrize(("least", "workers", "stay"), [(1, 2, 1), (3, 3, 2), (5, 5, 4)])
def test_the_overlay_has_two_replicas_or_more_and_keeps_all_but_one(
    directory: Path, least: int, workers: int, stay: int
) -> None:
    """On GKE one node may fail; a budget of all workers would stop every node upgrade."""
    config = directory / CONFIG_FILE
    change(
        config,
        lambda document: deployment_of(document)["autoscaling_config"].update(min_replicas=least),
    )

    assert main(["k8s", "render", "--directory", str(directory)]) == 0

    overlay = directory / "kuberay" / "overlays" / "gke"
    patch = values(overlay / "generated.yaml")
    assert patch["minReplicas"] == workers
    served = deployment_of(yaml.safe_load(patch["serveConfigV2"]))["autoscaling_config"]
    assert served["min_replicas"] == workers
    assert values(overlay / "generated-budget.yaml") == {"minAvailable": stay}
    base = values(directory / "kuberay" / "base" / "generated.yaml")
    assert yaml.safe_load(base["serveConfigV2"]) == yaml.safe_load(config.read_text())


@pytest.mark.parametrize(
    ("edit", "file", "message"),
    [
        (
            lambda document: deployment_of(document)["ray_actor_options"].update(num_cpus=2),
            CONFIG_FILE,
            "a replica of 2 CPUs does not fit into a worker of 1",
        ),
        (
            lambda document: deployment_of(document)["ray_actor_options"].update(num_cpus=0.7),
            CONFIG_FILE,
            "workers of 1 CPUs do not fit a whole number of replicas of 0.7",
        ),
        (
            lambda document: deployment_of(document).pop("autoscaling_config"),
            CONFIG_FILE,
            "must have autoscaling_config with min_replicas",
        ),
        (
            lambda document: worker_of(document)["resources"]["requests"].update(cpu="500m"),
            render.RAY_SERVICE,
            "workers request cpu 500m; Ray needs a whole number",
        ),
        (
            lambda document: document["spec"]["rayClusterConfig"].pop("workerGroupSpecs"),
            render.RAY_SERVICE,
            "has not one group of workers",
        ),
    ],
)
def test_sources_that_do_not_fit_are_refused(
    directory: Path,
    edit: Callable[[Any], None],
    file: str | Path,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says which, and no file changes."""
    change(directory / file, edit)
    before = {path: path.read_bytes() for path in directory.rglob("*.yaml")}

    line = refused(main, ["k8s", "render", "--directory", str(directory)], capsys)

    assert message in line
    assert {path: path.read_bytes() for path in directory.rglob("*.yaml")} == before


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
def test_an_image_without_digest_is_refused(
    directory: Path, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tag may name another image tomorrow."""
    line = refused(main, ["k8s", "render", "--image", image, "--directory", str(directory)], capsys)

    assert line == (
        f"error: image {image!r} is not NAME@sha256: and the 64 hex digits that "
        "`docker push` prints; a tag may name another image tomorrow"
    )


def test_the_files_of_the_current_directory_are_written_and_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of all images, and with an image the release."""
    monkeypatch.chdir(directory)
    assert main(["k8s", "render", "--image", f"app@{DIGEST}", "--revision", "abc123"]) == 0

    assert DIGEST in (directory / render.RELEASE).read_text(encoding="utf-8")
    named = capsys.readouterr().out.splitlines()
    assert named == [*(str(path.relative_to(PROJECT)) for path in COMMITTED), str(render.RELEASE)]


@pytest.mark.parametrize("missing", [CONFIG_FILE, render.RAY_SERVICE])
def test_a_directory_without_manifests_is_one_line(
    directory: Path, missing: str | Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names what is missing and how to get it."""
    (directory / missing).unlink()

    line = refused(main, ["k8s", "render", "--directory", str(directory)], capsys)

    assert line == (
        f"error: {directory} has no {missing}; `serve-app init` writes one, "
        "and --directory names another place"
    )
