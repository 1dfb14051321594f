"""Write what the manifests take from elsewhere: Serve config, Ray's version, workers, image.

The files that it writes are committed; a test fails when one differs from what would be written.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from deploy.names import IMAGE

ROOT = Path(__file__).parent
SERVE_CONFIG = ROOT.parent / "serve_config.yaml"
RAY_SERVICE = ROOT / "base" / "rayservice.yaml"
RELEASE = ROOT / "release" / "kustomization.yaml"

AUTOSCALING: Mapping[str, Mapping[str, int]] = {
    "base": {},
    # One replica on one node is gone with its node.
    "overlays/gke": {"min_replicas": 2},
}
"""Directories with generated patches, and where their autoscaling differs from the Serve config."""

NO_IMAGE = f"image.invalid/{IMAGE}@sha256:{'0' * 64}"
"""Cannot be pulled from anywhere, and says so."""

_IMAGE_PATTERN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._/:-]*)@(?P<digest>sha256:[0-9a-f]{64})")
_PROJECT_PATTERN = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev/(?P<project>[a-z][a-z0-9-]+)/.+")
"""Images in Artifact Registry; they name the project."""
_RAY_CONTAINERS = tuple(
    f"/spec/rayClusterConfig/{group}/template/spec/containers/0"
    for group in ("headGroupSpec", "workerGroupSpecs/0")
)
_HEADER = "# Written by `serve-app k8s render`; do not edit.\n"


class RenderError(Exception):
    """Something that cannot be rendered: names the value and the fix."""


def generated_patch(overrides: Mapping[str, int]) -> str:
    """JSON patch of the RayService: Serve config, Ray's version and the number of workers.

    Args:
        overrides: fields of ``autoscaling_config`` that differ from serve_config.yaml.
    """
    config = serve_config(overrides)
    least, most = workers(config, cpus_per_worker())
    group = "/spec/rayClusterConfig/workerGroupSpecs/0"
    values = {
        "/spec/serveConfigV2": yaml.safe_dump(config, sort_keys=False),
        "/spec/rayClusterConfig/rayVersion": metadata.version("ray"),
        # How many to start with; Ray's autoscaler changes it in the Ray cluster, not here.
        f"{group}/replicas": least,
        f"{group}/minReplicas": least,
        f"{group}/maxReplicas": most,
    }
    patch = [_operation("add", path, value) for path, value in values.items()]
    return _HEADER + yaml.dump(patch, Dumper=_Dumper, sort_keys=False)


def generated_budget(overrides: Mapping[str, int]) -> str:
    """JSON patch of the disruption budget: all but one of the workers that are always there stay.

    Args:
        overrides: fields of ``autoscaling_config`` that differ from serve_config.yaml.
    """
    least, _most = workers(serve_config(overrides), cpus_per_worker())
    patch = [_operation("add", "/spec/minAvailable", max(1, least - 1))]
    return _HEADER + yaml.dump(patch, Dumper=_Dumper, sort_keys=False)


def serve_config(overrides: Mapping[str, int]) -> dict[str, Any]:
    """serve_config.yaml, with fields of ``autoscaling_config`` replaced."""
    config: dict[str, Any] = yaml.safe_load(SERVE_CONFIG.read_text(encoding="utf-8"))
    deployment(config)["autoscaling_config"].update(overrides)
    return config


def deployment(config: Mapping[str, Any]) -> dict[str, Any]:
    """The only deployment of a Serve config."""
    (application,) = config["applications"]
    (only,) = application["deployments"]
    found: dict[str, Any] = only
    return found


def cpus_per_worker() -> int:
    """CPUs of a worker pod, as KubeRay tells Ray: those that its first container requests."""
    service = yaml.safe_load(RAY_SERVICE.read_text(encoding="utf-8"))
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    cpus = group["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    if not str(cpus).isdecimal():
        raise RenderError(f"{RAY_SERVICE}: workers request cpu {cpus}; Ray needs a whole number")
    return int(cpus)


def workers(config: Mapping[str, Any], cpus: int) -> tuple[int, int]:
    """Least and most worker pods that the replicas of a Serve config need.

    Raises:
        RenderError: a worker's CPUs are not those of a whole number of replicas.
    """
    options = deployment(config)
    replica_cpus = options["ray_actor_options"]["num_cpus"]
    replicas_per_worker = cpus / replica_cpus
    if replicas_per_worker < 1 or replicas_per_worker != int(replicas_per_worker):
        raise RenderError(
            f"workers of {cpus} CPUs do not fit a whole number of replicas of {replica_cpus}; "
            f"change one of them in {RAY_SERVICE.name} or {SERVE_CONFIG.name}"
        )
    scaling = options["autoscaling_config"]
    # An update in place starts so many replicas on top before it stops old ones.
    surge = math.ceil(scaling["max_replicas"] * options.get("max_surge_percent", 0) / 100)
    least = math.ceil(scaling["min_replicas"] / replicas_per_worker)
    return least, math.ceil((scaling["max_replicas"] + surge) / replicas_per_worker)


def release(image: str, revision: str) -> str:
    """Kustomize component that names the image, the revision and, if the image does, the project.

    Raises:
        RenderError: the image is not named by its digest.
    """
    parts = _IMAGE_PATTERN.fullmatch(image)
    if parts is None:
        raise RenderError(
            f"image {image!r} is not NAME@sha256:DIGEST; a tag may name another image tomorrow"
        )
    patch = [_operation("add", "/metadata/annotations/serve-app~1revision", revision)]
    project = _PROJECT_PATTERN.fullmatch(parts["name"])
    for container in _RAY_CONTAINERS:
        # Variables have positions; kustomize stops if another one is there.
        patch.append(_operation("test", f"{container}/env/0/name", "SERVICE_VERSION"))
        patch.append(_operation("replace", f"{container}/env/0/value", revision))
        if project:
            variable = {"name": "GOOGLE_CLOUD_PROJECT", "value": project["project"]}
            patch.append(_operation("add", f"{container}/env/-", variable))
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [{"name": IMAGE, "newName": parts["name"], "digest": parts["digest"]}],
        "patches": [
            {
                "target": {"kind": "RayService"},
                "patch": yaml.dump(patch, Dumper=_Dumper, sort_keys=False),
            }
        ],
    }
    return _HEADER + yaml.dump(component, Dumper=_Dumper, sort_keys=False)


def _operation(name: str, path: str, value: object) -> dict[str, object]:
    return {"op": name, "path": path, "value": value}


def generated_files() -> dict[Path, str]:
    """Every generated file that is the same for all images, with its content."""
    return {
        ROOT / directory / name: generate(overrides)
        for directory, overrides in AUTOSCALING.items()
        for name, generate in GENERATED.items()
    }


GENERATED: Mapping[str, Callable[[Mapping[str, int]], str]] = {
    "generated.yaml": generated_patch,
    "generated-budget.yaml": generated_budget,
}
"""Generated patches of each directory, by file name."""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that a change of one line shows as one."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="serve-app k8s render", description=__doc__)
    parser.add_argument(
        "--image",
        help="also name the image to run, NAME@sha256:DIGEST, in kuberay/release, and its project",
    )
    parser.add_argument(
        "--revision", default="unknown", help="what the image was built from, for an annotation"
    )
    options = parser.parse_args(arguments)
    try:
        files = generated_files()
        if options.image:
            files[RELEASE] = release(options.image, options.revision)
    except RenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
