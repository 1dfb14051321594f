"""What is said of the answers in every protocol, and which Gateway is asked."""

from pathlib import Path

import pytest

from deploy.names import RAY_SERVICE
from serve_app.errors import CheckFailedError
from studies.e2e.cluster import Cluster
from studies.e2e.gateway import is_accepted, parts
from studies.e2e.protocols import verdict


def test_a_wrong_answer_is_named_with_its_way() -> None:
    """One of them fails the chapter; without any the calls are counted."""
    right = {"V1": "", "ModelInfer": ""}
    assert verdict({"a pod": right, "a Gateway": right}) == (
        "answered as /predict/: from a pod 2; from a Gateway 2 (V1, ModelInfer)"
    )
    with pytest.raises(CheckFailedError, match=r"^a Gateway, ModelInfer: UNAVAILABLE: no$"):
        verdict({"a pod": right, "a Gateway": {**right, "ModelInfer": "UNAVAILABLE: no"}})


def test_the_route_is_the_components_own(tmp_path: Path) -> None:
    """Only the Gateway is another one: of the class that is there, without TLS."""
    manifest = Cluster("there", tmp_path / "manifests").render("local", ["gateway"])
    gateway, route = parts(manifest, "a-class")
    assert gateway["metadata"]["name"] == RAY_SERVICE
    assert gateway["spec"]["gatewayClassName"] == "a-class"
    assert [each["protocol"] for each in gateway["spec"]["listeners"]] == ["HTTP"]
    assert route["spec"]["parentRefs"] == [{"name": RAY_SERVICE}]
    assert len(route["spec"]["rules"]) == 2


@pytest.mark.parametrize(
    ("conditions", "accepted"),
    [
        ({"Accepted": "True", "ResolvedRefs": "True"}, True),
        ({"Accepted": "True", "ResolvedRefs": "False"}, False),
        ({"Accepted": "True"}, False),
    ],
)
def test_a_route_is_accepted_when_its_services_are_known(
    conditions: dict[str, str], accepted: bool
) -> None:
    """A Gateway answers before that, too: with its own 404 or 500."""
    listed = [{"type": kind, "status": status} for kind, status in conditions.items()]
    assert is_accepted({"status": {"parents": [{"conditions": listed}]}}) is accepted
    assert not is_accepted({"status": {}})
