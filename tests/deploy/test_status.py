"""deploy.status: status documents in, verdict out."""

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from deploy.status import RolloutState, judge
from tests.deploy import status_documents as documents
from tests.deploy.status_documents import NEW, NEW_CLUSTER, OLD, OLD_CLUSTER
from tests.kuberay.test_schemas import kuberay_schema

Document = dict[str, Any]


def old_cluster() -> Document:
    return documents.ray_cluster(OLD_CLUSTER, OLD)


def new_cluster() -> Document:
    return documents.ray_cluster(NEW_CLUSTER, NEW)


STAGES = [
    documents.serving,
    documents.applied,
    documents.upgrading,
    documents.upgraded,
    documents.starting,
    documents.timed_out,
    documents.refused,
]


@pytest.fixture(scope="module")
def status_schema() -> Any:
    """What KubeRay's CRD says of a status, with no unknown field."""
    return kuberay_schema("RayService")["properties"]["status"]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_documents_have_the_form_of_kuberay(
    stage: Callable[[], Document], status_schema: Any
) -> None:
    """What the other tests judge is what the CRD allows a status to be."""
    jsonschema.validate(stage()["status"], status_schema)


def test_service_at_rest_is_ready() -> None:
    """What was applied serves: nothing else is needed."""
    verdict = judge(documents.serving(), old_cluster())

    assert verdict.state is RolloutState.READY
    assert verdict.reason == f"cluster {OLD_CLUSTER} serves generation 1 on 3 endpoints"


def test_upgrade_is_ready_only_at_its_end() -> None:
    """Ready is True all the way; the verdict is not."""
    stages = [
        (documents.applied(), old_cluster()),
        (documents.upgrading(), old_cluster()),
        (documents.upgrading(documents.application("DEPLOYING")), old_cluster()),
        (documents.upgrading(documents.application("RUNNING")), old_cluster()),
        (documents.upgraded(), new_cluster()),
    ]

    states = [judge(service, cluster).state for service, cluster in stages]

    assert all(documents.READY in service["status"]["conditions"] for service, _ in stages)
    assert states == [RolloutState.WAITING] * 4 + [RolloutState.READY]


def test_first_start_is_ready_only_at_its_end() -> None:
    """Nothing observed, a pending cluster, no endpoints: all of it is waiting."""
    unseen = documents.starting()
    unseen["status"] = {}
    without_endpoints = documents.upgraded()
    without_endpoints["status"] |= {
        "numServeEndpoints": 0,
        "conditions": [documents.NOT_READY, documents.NO_UPGRADE],
    }

    for service, cluster, reason in (
        (unseen, None, "KubeRay has not seen generation 1 yet"),
        (documents.starting(), None, f"cluster {NEW_CLUSTER} starts: Serve has not answered yet"),
        (without_endpoints, new_cluster(), f"cluster {NEW_CLUSTER} has no endpoints yet"),
    ):
        verdict = judge(service, cluster)
        assert (verdict.state, verdict.reason) == (RolloutState.WAITING, reason)


def test_active_cluster_must_run_the_image_asked_for() -> None:
    """Even where the status claims that all is done, the pods' own image decides."""
    verdict = judge(documents.upgraded(), documents.ray_cluster(NEW_CLUSTER, OLD))

    assert verdict.state is RolloutState.WAITING
    assert f"cluster {NEW_CLUSTER} still runs" in verdict.reason
    assert OLD in verdict.reason
    assert NEW in verdict.reason


def test_every_application_of_the_configuration_must_run() -> None:
    """An application that Serve does not report is missing, not fine."""
    for applications in ({}, documents.application("UNHEALTHY", "Replica died")):
        service = documents.upgraded()
        service["status"]["activeServiceStatus"]["applicationStatuses"] = applications

        assert judge(service, new_cluster()).state is RolloutState.WAITING


def test_cluster_that_vanished_between_two_reads_is_waiting() -> None:
    """The switch may happen between reading the RayService and its cluster."""
    assert judge(documents.serving(), None).state is RolloutState.WAITING


def test_an_unhealthy_application_says_where_the_reason_is() -> None:
    """Serve does not tell that a replica that starts again refuses its model; its log does."""
    service = documents.upgraded()
    applications = documents.application("UNHEALTHY", "A replica's health check failed")
    service["status"]["activeServiceStatus"]["applicationStatuses"] = applications

    reason = judge(service, new_cluster()).reason

    assert "application classifier is UNHEALTHY A replica's health check failed" in reason
    assert "serve-app k8s diagnose" in reason
    assert "diagnose" not in judge(documents.starting(), None).reason


@pytest.mark.parametrize("condition", [None, "Unknown", "True"])
def test_unclear_upgrade_condition_is_waiting(condition: str | None) -> None:
    """Only an explicit False says that no upgrade is under way."""
    service = documents.serving()
    service["status"]["conditions"] = [documents.READY]
    if condition:
        upgrade = documents.condition("UpgradeInProgress", condition, "NoActiveCluster")
        service["status"]["conditions"].append(upgrade)

    assert judge(service, old_cluster()).state is RolloutState.WAITING


def test_initializing_timeout_is_a_failure() -> None:
    """KubeRay never tries again: waiting longer is pointless, and the reason says what helps."""
    verdict = judge(documents.timed_out(), None)

    assert verdict.state is RolloutState.FAILED
    assert "timeout of 20m0s" in verdict.reason
    assert "delete the RayService and apply it anew" in verdict.reason


def test_refused_specification_is_a_failure() -> None:
    """KubeRay's own words are handed on."""
    verdict = judge(documents.refused(), old_cluster())

    assert verdict.state is RolloutState.FAILED
    assert "maxReplicas must be positive" in verdict.reason


def test_refusal_of_an_older_specification_is_no_failure() -> None:
    """The condition keeps its reason until there are endpoints; observedGeneration tells."""
    service = documents.starting()
    ready = documents.condition("Ready", "False", "ValidationFailed", "old words")
    service["status"]["conditions"] = [ready, documents.STARTING]

    assert judge(service, None).state is RolloutState.WAITING


@pytest.mark.parametrize("build", [documents.starting, documents.upgrading])
def test_failed_application_is_a_failure_with_its_words(build: Any) -> None:
    """On the first start as during an upgrade, long before any deadline."""
    words = "RuntimeError: model/card.json: no such file"
    service = build(documents.application("DEPLOY_FAILED", "Failed to deploy", words))

    verdict = judge(service, old_cluster())

    assert verdict.state is RolloutState.FAILED
    assert verdict.reason == f"application classifier failed to deploy: Failed to deploy / {words}"


def test_failure_of_an_older_specification_is_no_failure() -> None:
    """Right after a rollback was applied the status still tells of what is rolled back."""
    service = documents.upgrading(documents.application("DEPLOY_FAILED"))
    service["metadata"]["generation"] = 3

    assert judge(service, old_cluster()).state is RolloutState.WAITING


def test_service_under_deletion_is_a_failure() -> None:
    """What is waited for will never serve."""
    service = documents.serving()
    service["metadata"]["deletionTimestamp"] = "2026-09-01T12:00:00Z"

    assert judge(service, old_cluster()).state is RolloutState.FAILED
