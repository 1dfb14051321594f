"""Every rendered document has the form that the API server expects, and no field too many."""

import functools
import importlib
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from tests.kuberay.foreign_schemas import FOREIGN_SCHEMAS
from tests.kuberay.manifests import OPTIONAL, OVERLAYS, Document, RayService, rendered
from tests.kuberay.manifests import rendered_with as with_component
from tests.test_served_config import unknown_keys

KUBERNETES = "1.34"


@functools.cache
def kuberay_schema(kind: str) -> Any:
    """The OpenAPI schema of a KubeRay kind, as a JSON schema that allows no unknown field."""
    directory = os.environ.get("KUBERAY_CRDS")
    if not directory:
        pytest.skip("KUBERAY_CRDS does not name a directory with KubeRay's CRDs")
    path = Path(directory) / f"ray.io_{kind.lower()}s.yaml"
    definition = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    (schema,) = [
        version["schema"]["openAPIV3Schema"]
        for version in definition["spec"]["versions"]
        if version["name"] == "v1"
    ]
    schema = closed(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def check_kuberay(document: Document) -> None:
    # Not jsonschema.validate, which checks the large schema itself each time.
    jsonschema.Draft202012Validator(kuberay_schema(document["kind"])).validate(document)


def closed(schema: Any) -> Any:
    """The same schema, in which objects with known properties have no others.

    The API server drops unknown fields without a word, so a mistyped one is never noticed there.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    result = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        result.setdefault("additionalProperties", False)
    return result


def check_kubernetes(documents: tuple[Document, ...]) -> list[str]:
    checked = []
    for document in documents:
        if document["kind"] in FOREIGN_SCHEMAS:
            jsonschema.validate(document, FOREIGN_SCHEMAS[document["kind"]])
            checked.append(document["kind"])
        elif document["kind"] != "RayService":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
            checked.append(document["kind"])
    return checked


@pytest.mark.parametrize("directory", [*OVERLAYS, "prerequisites"])
def test_kubernetes_knows_every_field(directory: str) -> None:
    """Kubernetes' own kinds, and those of Google and Gateway API, validate strictly."""
    assert check_kubernetes(rendered(directory))


@pytest.mark.parametrize("component", OPTIONAL)
def test_kubernetes_knows_every_field_of_a_component(component: str, tmp_path: Path) -> None:
    """So do the components that no overlay has, on top of the base."""
    assert "Service" in check_kubernetes(with_component(component, tmp_path))


def test_every_foreign_kind_is_checked(tmp_path: Path) -> None:
    """The overlay gke with the component gateway has them all, and a mistyped field is noticed."""
    documents = (*rendered("overlays/gke"), *with_component("gateway", tmp_path))
    assert set(check_kubernetes(documents)) >= FOREIGN_SCHEMAS.keys()
    for document in documents:
        if document["kind"] in FOREIGN_SCHEMAS:
            mistyped = {**document, "spec": {**document["spec"], "timeoutsSec": 1}}
            with pytest.raises(jsonschema.ValidationError, match="timeoutsSec"):
                check_kubernetes((mistyped,))


@pytest.mark.parametrize("directory", OVERLAYS)
def test_kuberay_knows_every_field(directory: str) -> None:
    """The RayService validates against the CRD, strictly."""
    check_kuberay(RayService(rendered(directory)).document)


def test_kuberay_knows_fault_tolerance(tmp_path: Path) -> None:
    """So does the RayService whose state is on a volume."""
    service = RayService(with_component("gcs-fault-tolerance", tmp_path))
    # No claim by name: old and new cluster of an upgrade would share it.
    assert service.cluster["gcsFaultToleranceOptions"] == {
        "backend": "rocksdb",
        "storage": {"size": "1Gi", "deletionPolicy": "DeleteWithCluster"},
    }
    check_kuberay(service.document)


@pytest.mark.parametrize(
    "path",
    [
        ("spec", "rayClusterDeletionDelay"),
        ("spec", "rayClusterConfig", "autoscalerOptions", "versions"),
        ("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "serviceAccount_Name"),
        ("spec", "rayClusterConfig", "workerGroupSpecs", 0, "maxReplica"),
        ("spec", "rayClusterConfig", "workerGroupSpecs", 0, "template", "spec", "nodeSelectors"),
    ],
)
def test_a_mistyped_field_would_be_noticed(path: tuple[str | int, ...]) -> None:
    """The check of the RayService reaches every level."""
    document = json.loads(json.dumps(RayService(rendered("overlays/gke")).document))
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = "x"
    with pytest.raises(jsonschema.ValidationError, match=str(path[-1])):
        check_kuberay(document)


@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
@pytest.mark.parametrize("directory", OVERLAYS)
def test_ray_serve_knows_every_key(directory: str) -> None:
    """serveConfigV2 parses as Ray's schema, and no key at any level is one that Ray ignores."""
    config = RayService(rendered(directory)).serve_config
    ServeDeploySchema.model_validate(config)
    assert list(unknown_keys(config, ServeDeploySchema)) == []


@pytest.mark.parametrize("directory", OVERLAYS)
def test_the_autoscaling_policy_can_be_made(directory: str) -> None:
    """Its arguments are those of the class: Serve would refuse another one only when it runs."""
    policy = RayService(rendered(directory)).deployment["autoscaling_config"]["policy"]
    module, _, name = policy["policy_function"].partition(":")
    made = getattr(importlib.import_module(module), name)
    assert callable(made(**policy["policy_kwargs"]))
    with pytest.raises(TypeError, match="cpu_targt"):
        made(cpu_targt=0.6)
