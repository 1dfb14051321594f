"""Labels and selectors: ours, and those of KubeRay's operator, select the pods that are meant."""

import pytest

from deploy import checks
from deploy.names import KUBERAY_VERSION
from loadtest.scale import pods
from tests.kuberay.manifests import (
    OPTIONAL,
    OVERLAYS,
    Document,
    RayService,
    pod_labels,
    rendered,
    rendered_with,
    selected,
    selectors,
)
from tests.kuberay.operator_labels import CLUSTER, RAY_PODS, RECORDED_VERSION, SERVICES

RAY = {"head", "worker"}
MEANT = {
    "Service classifier-public: spec.selector": {"worker"},
    "PodDisruptionBudget classifier-workers: spec.selector": {"worker"},
    "NetworkPolicy ray-nodes: spec.podSelector": RAY,
    "NetworkPolicy ray-nodes: spec.ingress.1.from.0.podSelector": RAY,
    "NetworkPolicy ray-nodes: spec.ingress.2.from.0.podSelector": {"operator"},
    "PodMonitoring ray-nodes: spec.selector": RAY,
    **{
        "RayService classifier: spec.rayClusterConfig.workerGroupSpecs.0.template.spec."
        f"topologySpreadConstraints.{position}.labelSelector": {"worker"}
        for position in (0, 1)
    },
}
"""Every selector in the manifests, and the pods that it has to select."""


@pytest.fixture(params=[*OVERLAYS, *OPTIONAL])
def documents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Overlays, and the base with each optional component."""
    if request.param in OVERLAYS:
        return rendered(request.param)
    return rendered_with(request.param, tmp_path_factory.mktemp("scratch"))


def test_the_labels_are_those_of_the_installed_operator() -> None:
    """Another version may set others: read it again, then record its number."""
    assert RECORDED_VERSION == KUBERAY_VERSION


def test_no_label_of_the_operator_is_overridden(documents: tuple[Document, ...]) -> None:
    """Labels of pods and groups have keys of our own."""
    service = RayService(documents)
    for kind, group in {"head": service.head, "worker": service.workers}.items():
        own = {**group["template"]["metadata"]["labels"], **group.get("labels", {})}
        assert own
        assert not own.keys() & RAY_PODS[kind].keys()
        assert not [key for key in own if key.startswith("ray.io/")]


@pytest.mark.parametrize("name", SERVICES)
def test_the_operators_services_select_their_pods(
    name: str, documents: tuple[Document, ...]
) -> None:
    """The dashboard's Service had no pod as long as ours had another app.kubernetes.io/name."""
    selector, meant = SERVICES[name]
    assert selected(selector, pod_labels(documents)) == meant


def test_every_selector_selects_what_it_is_meant_to(documents: tuple[Document, ...]) -> None:
    """Service, budget and spread workers only; policies and monitoring all pods of Ray."""
    labels = pod_labels(documents)
    found = {place: selected(selector, labels) for place, selector in selectors(documents)}
    meant = {place: kinds for place, kinds in MEANT.items() if place in found}
    assert found == meant
    assert len(found) >= len(MEANT) - 1  # that of the monitoring


def test_selectors_outlive_a_cluster(documents: tuple[Document, ...]) -> None:
    """KubeRay names clusters anew in each upgrade."""
    for _, selector in selectors(documents):
        assert "ray.io/cluster" not in selector.get("matchLabels", selector)
    for labels in RAY_PODS.values():
        assert labels["ray.io/cluster"] == CLUSTER


@pytest.mark.parametrize(
    ("option", "meant"), [(checks.RAY_PODS, RAY), (f"--selector={pods.WORKERS}", {"worker"})]
)
def test_commands_select_what_they_are_meant_to(option: str, meant: set[str]) -> None:
    """Of kubectl: labels of the operator, by equality."""
    key, value = option.removeprefix("--selector=").split("=")
    assert selected({key: value}, pod_labels(rendered("overlays/gke"))) == meant
