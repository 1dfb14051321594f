"""Write what the manifests take from elsewhere: Serve config, Ray's version, workers, image.

In a clone of the project the written files are committed; a test fails when one has drifted.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import yaml

from deploy.names import IMAGE
from deploy.sizes import replicas_per_worker
from serve_app.errors import UserError
from serve_app.runtime.request_limits import request_limits
from serve_app.serve_config import CONFIG_FILE, ServeConfig

MANIFESTS = Path("kuberay")
RAY_SERVICE = MANIFESTS / "base" / "rayservice.yaml"
RELEASE = MANIFESTS / "release" / "kustomization.yaml"

LEAST_REPLICAS: Mapping[str, int] = {
    "base": 0,
    # One replica on one node is gone with its node.
    "overlays/gke": 2,
}
"""Directories with generated patches, and the fewest replicas that `min_replicas` may be there."""

NO_IMAGE = f"image.invalid/{IMAGE}@sha256:{'0' * 64}"
"""Cannot be pulled from anywhere, and says so."""

_IMAGE_PATTERN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._/:-]*)@(?P<digest>sha256:[0-9a-f]{64})")
_PROJECT_PATTERN = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev/(?P<project>[a-z][a-z0-9-]+)/.+")
"""Images in Artifact Registry; they name the project."""
_WORKERS = "/spec/rayClusterConfig/workerGroupSpecs/0"
_RAY_CONTAINERS = tuple(
    f"{group}/template/spec/containers/0"
    for group in ("/spec/rayClusterConfig/headGroupSpec", _WORKERS)
)


@dataclass(frozen=True)
class Manifests:
    """The manifests of one directory, and the Serve config beside them."""

    directory: Path
    config: ServeConfig

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Find ``kuberay/`` and ``serve_config.yaml`` in ``directory``.

        Raises:
            UserError: one of them is not there.
            ConfigError: the config cannot be used.
        """
        for path in (RAY_SERVICE, Path(CONFIG_FILE)):
            if not (directory / path).is_file():
                raise UserError(
                    f"{directory.resolve()} has no {path}; `serve-app init` writes one, "
                    "and --directory names another place"
                )
        return cls(directory, ServeConfig.read(directory / CONFIG_FILE))

    def generated_files(self) -> dict[Path, str]:
        """Every generated file that is the same for all images, with its content.

        Raises:
            UserError: the workers of the manifests and the replicas of the config do not fit.
        """
        files = {}
        for directory in LEAST_REPLICAS:
            config, path = self.config_for(directory), self.directory / MANIFESTS / directory
            least, most = worker_range(config, self.worker_cpus)
            values = {
                "/spec/serveConfigV2": yaml.safe_dump(config.document, sort_keys=False),
                "/spec/rayClusterConfig/rayVersion": metadata.version("ray"),
                # How many to start with; Ray's autoscaler changes it in the Ray cluster, not here.
                f"{_WORKERS}/replicas": least,
                f"{_WORKERS}/minReplicas": least,
                f"{_WORKERS}/maxReplicas": most,
            }
            patch = _additions(values)
            if directory == "base":  # the others are made of it
                patch += _environment(config)
            files[path / "generated.yaml"] = _written(patch)
            # All but one of the workers that are always there stay.
            budget = {"/spec/minAvailable": max(1, least - 1)}
            files[path / "generated-budget.yaml"] = _written(_additions(budget))
        return files

    def config_for(self, directory: str) -> ServeConfig:
        """The Serve config, with at least as many replicas as a directory of manifests needs."""
        least = LEAST_REPLICAS[directory]
        if _scaling(self.config)["min_replicas"] >= least:
            return self.config
        return self.config.override(autoscaling={"min_replicas": least})

    @property
    def worker_pod(self) -> Mapping[str, Any]:
        """Specification of a worker pod.

        Raises:
            UserError: the RayService has not one group of workers.
        """
        path = self.directory / RAY_SERVICE
        try:
            service = yaml.safe_load(path.read_text(encoding="utf-8"))
            (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
            return dict(group["template"]["spec"])
        except (LookupError, TypeError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{path} has not one group of workers: {error!r}") from error

    @property
    def worker_cpus(self) -> int:
        """CPUs of a worker pod, as KubeRay tells Ray: those that its first container requests.

        Raises:
            UserError: not a whole number.
        """
        cpus = self.worker_pod["containers"][0]["resources"]["requests"]["cpu"]
        if not str(cpus).isdecimal():
            raise UserError(
                f"{self.directory / RAY_SERVICE}: workers request cpu {cpus}; "
                "Ray needs a whole number"
            )
        return int(cpus)


def _environment(config: ServeConfig) -> list[dict[str, object]]:
    """What `serve-app serve` derives from the config; KubeRay starts Ray without it."""
    return [
        operation
        for container in _RAY_CONTAINERS
        for name, value in request_limits(config).items()
        for operation in _additions({f"{container}/env/-": {"name": name, "value": value}})
    ]


def worker_range(config: ServeConfig, worker_cpus: int) -> tuple[int, int]:
    """Least and most worker pods that the replicas of a Serve config need.

    Raises:
        UserError: a worker's CPUs are not those of a whole number of replicas, at least of one.
    """
    scaling, deployment = _scaling(config), config.deployment
    replica_cpus = deployment["ray_actor_options"]["num_cpus"]
    per_worker = replicas_per_worker(replica_cpus, worker_cpus)
    if not math.isclose(per_worker * replica_cpus, worker_cpus):
        raise UserError(
            f"workers of {worker_cpus} CPUs do not fit a whole number of replicas of "
            f"{replica_cpus:g}; change one of them in {RAY_SERVICE.name} or {CONFIG_FILE}"
        )
    # An update in place starts so many replicas on top before it stops old ones.
    surge = math.ceil(scaling["max_replicas"] * deployment.get("max_surge_percent", 0) / 100)
    least, most = scaling["min_replicas"], scaling["max_replicas"] + surge
    return math.ceil(least / per_worker), math.ceil(most / per_worker)


def _scaling(config: ServeConfig) -> Mapping[str, int]:
    try:
        scaling: Mapping[str, int] = config.deployment["autoscaling_config"]
        _ = scaling["min_replicas"], scaling["max_replicas"]
        _ = config.deployment["ray_actor_options"]["num_cpus"]
    except (LookupError, TypeError) as error:
        raise UserError(
            f"the deployment in {config.path} must have autoscaling_config with min_replicas and "
            f"max_replicas, and ray_actor_options with num_cpus: {error!r}"
        ) from error
    return scaling


def release(image: str, revision: str) -> str:
    """Kustomize component that names the image, the revision and, if the image does, the project.

    Raises:
        UserError: the image is not named by its digest.
    """
    parts = _IMAGE_PATTERN.fullmatch(image)
    if parts is None:
        raise UserError(
            f"image {image!r} is not NAME@sha256: and the 64 hex digits that `docker push` prints; "
            "a tag may name another image tomorrow"
        )
    patch = _additions({"/metadata/annotations/serve-app~1revision": revision})
    project = _PROJECT_PATTERN.fullmatch(parts["name"])
    for container in _RAY_CONTAINERS:
        # Variables have positions; kustomize stops if another one is there.
        variable = f"{container}/env/0"
        patch += [
            {"op": "test", "path": f"{variable}/name", "value": "SERVICE_VERSION"},
            {"op": "replace", "path": f"{variable}/value", "value": revision},
        ]
        if project:
            added = {"name": "GOOGLE_CLOUD_PROJECT", "value": project["project"]}
            patch += _additions({f"{container}/env/-": added})
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [{"name": IMAGE, "newName": parts["name"], "digest": parts["digest"]}],
        "patches": [{"target": {"kind": "RayService"}, "patch": _dumped(patch)}],
    }
    return _written(component)


def render(directory: Path, image: str | None, revision: str) -> list[Path]:
    """Write every generated file of ``directory``; with an image, also the release.

    Returns:
        The files.

    Raises:
        UserError: something cannot be rendered; no file was changed.
    """
    files = Manifests.open(directory).generated_files()
    if image is not None:
        files[directory / RELEASE] = release(image, revision)
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
    return list(files)


def _additions(values: Mapping[str, object]) -> list[dict[str, object]]:
    """A JSON patch that adds ``values``, by path."""
    return [{"op": "add", "path": path, "value": value} for path, value in values.items()]


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that a change of one line shows as one."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def _dumped(document: object) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False)


def _written(document: object) -> str:
    return f"# Written by `serve-app k8s render`; do not edit.\n{_dumped(document)}"
