"""``serve-app gke teardown``: what goes, what stays, and what it says."""

import pytest

from serve_app.cli.main import main
from tests.deploy.fake_tools import FakeTools
from tests.deploy.gke.commands import (
    CONVERGING,
    IN_REGION,
    KUBECTL,
    SETUP,
    TEARDOWN,
    changes,
)


def test_teardown_deletes_everything_but_the_images(installed: FakeTools) -> None:
    """What the set-up created is gone, inner things first; images are kept."""
    assert main(TEARDOWN) == 0

    deleted = changes(installed)
    cluster = deleted.index(f"gcloud container clusters delete serve-app {IN_REGION}")
    assert deleted[cluster - 2 : cluster] == [
        CONVERGING[0],
        f"{KUBECTL} delete namespace serve-app --ignore-not-found --timeout=10m",
    ]
    left = installed.state
    assert left["container/clusters"] == left["iam/service-accounts"] == {}
    assert list(left["artifacts/repositories"]) == ["serve-app"]
    assert [grants for grants in left["policies"].values() if grants] == []
    assert left["iam/workload-identity-pools"]["serve-app-github"]["state"] == "DELETED"
    assert left["iam/roles"]["serveAppDeployer"]["deleted"]


def test_teardown_twice_and_set_up_again(installed: FakeTools) -> None:
    """A second teardown finds nothing; a new set-up revives what Google only marks as deleted."""
    main([*TEARDOWN, "--images"])
    installed.forget()

    assert main([*TEARDOWN, "--images"]) == 0
    assert changes(installed) == []

    assert main(SETUP) == 0
    revived = [line.split(" --")[0] for line in changes(installed) if "undelete" in line]
    assert revived == [
        "gcloud iam workload-identity-pools undelete serve-app-github",
        "gcloud iam roles undelete serveAppDeployer",
    ]


def test_teardown_tells_the_way_around_an_unreachable_control_plane(
    installed: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    """Running it again would not help then: the fix deletes the cluster without it."""
    failure = {"command": "delete namespace", "times": 1, "message": "dial tcp: i/o timeout"}
    installed.update(failures=[failure])

    assert main(TEARDOWN) == 1

    error = capsys.readouterr().err
    assert f"gcloud container clusters delete serve-app {IN_REGION}" in error
    assert "load balancer of classifier-public" in error


def test_teardown_asks_first(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --yes nothing is even looked at."""
    assert main(TEARDOWN[:-1]) == 2

    assert "add --yes" in capsys.readouterr().err
    assert tools.commands == []
