"""What open ports say of the NetworkPolicy."""

import pytest

from serve_app.errors import CheckFailedError
from studies.e2e.network import judged

HEAD, WORKER = "10.0.0.1", "10.0.0.2"
PREDICTIONS = [[HEAD, 8000], [HEAD, 9000], [WORKER, 8000], [WORKER, 9000]]
TRIED = [*PREDICTIONS[:2], [HEAD, 8265], *PREDICTIONS[2:], [WORKER, 30000]]


def test_only_predictions_may_be_answered() -> None:
    """Over HTTP and over gRPC, by each pod."""
    assert judged(TRIED, PREDICTIONS) == ("of 6 ports only 8000 and 9000 answer outside serve-app")


@pytest.mark.parametrize(
    "opened",
    [
        PREDICTIONS[:3],  # another pod has the port, but not this one
        [*PREDICTIONS[:2], [HEAD, 8265], *PREDICTIONS[2:]],
        TRIED,
        [],
    ],
)
def test_any_other_port_and_any_closed_one_is_a_failure(opened: list[list[object]]) -> None:
    """The ports that do answer are named."""
    ports = sorted({port for _, port in opened}, key=str)
    with pytest.raises(CheckFailedError, match="enforce a NetworkPolicy") as raised:
        judged(TRIED, opened)
    assert all(str(port) in str(raised.value) for port in ports)
