"""The smoke test: the public address answers, right, and with one model."""

from collections.abc import Callable

from deploy.kubectl import Kubectl
from deploy.names import PUBLIC_SERVICE
from deploy.rollout import wait
from deploy.status import RolloutState, Verdict
from serve_app.client import ServiceClient, ServiceError
from serve_app.errors import CheckFailedError

SMOKE_REQUESTS = 20


class SmokeError(CheckFailedError):
    """The public address does not answer as it should: says what was wrong."""


def public_url(kubectl: Kubectl) -> str:
    """Address under which clients reach the service.

    Raises:
        SmokeError: the load balancer has none yet.
    """
    service = kubectl.get("service", PUBLIC_SERVICE)
    if service is None:
        raise SmokeError(f"there is no Service {PUBLIC_SERVICE}")
    points = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    if not points:
        raise SmokeError(
            f"Service {PUBLIC_SERVICE} has no address yet; behind a Gateway, name the URL"
        )
    host = points[0].get("ip") or points[0]["hostname"]
    return f"http://{host}:{service['spec']['ports'][0]['port']}"


def smoke(find_url: Callable[[], str], deadline_seconds: float, model: str | None = None) -> None:
    """Ask for the sample in the service's own model card, until one model answers every time.

    Prints each change of the reason to wait, then the address and the model version.

    Args:
        find_url: returns the address; may raise SmokeError while there is none.
        deadline_seconds: how long it may take. A new load balancer takes minutes, and the old Ray
            cluster answers, too, until it has drained.
        model: the version that must answer; none or an empty one for any.

    Raises:
        CheckFailedError: a wrong answer, or none in time.
    """

    def look() -> Verdict:
        try:
            url = find_url()
            with ServiceClient(url) as client:
                versions = sorted({client.predict_sample() for _ in range(SMOKE_REQUESTS)})
        except (SmokeError, ServiceError) as error:
            return Verdict(RolloutState.WAITING, str(error))
        if len(versions) > 1:
            reason = f"models {' and '.join(versions)} answer at once"
            return Verdict(RolloutState.WAITING, reason)
        if model and versions != [model]:
            reason = f"model {versions[0]} answers, not {model}"
            return Verdict(RolloutState.WAITING, reason)
        answers = f"{url} answered {SMOKE_REQUESTS} times with model {versions[0]}"
        return Verdict(RolloutState.READY, answers)

    wait(look, deadline_seconds, settle_seconds=0)
