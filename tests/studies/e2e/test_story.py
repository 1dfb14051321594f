"""Chapters, the split of a scale-out, steady traffic, and what the command refuses."""

from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from serve_app.cli.main import run
from serve_app.errors import CheckFailedError, UserError
from serve_app.model.card import ModelCard
from serve_app.runtime.ports import free_port
from serve_app.serve_config import ServeConfig, packaged_config
from studies.e2e.__main__ import e2e
from studies.e2e.cluster import Cluster
from studies.e2e.scaling import moments, split
from studies.e2e.story import Story
from studies.e2e.traffic import Traffic, require_no_failure
from studies.steady_load import Answer
from tests.support.canned_service import CannedService
from tests.support.command_lines import refused
from tests.support.waiting import wait_until

main = partial(run, e2e, name="python -m studies.e2e")


@pytest.fixture
def story(tmp_path: Path) -> Story:
    config = ServeConfig.read(packaged_config())
    return Story(Cluster("there", tmp_path / "manifests"), config, ("a", "b"), 10, tmp_path, ())


def fail(error: UserError) -> str:
    raise error


def test_a_chapter_that_fails_does_not_end_the_story(story: Story) -> None:
    """The table has its reason; a chapter that the rest needs ends it all."""
    story.chapter("First", partial(fail, CheckFailedError("too slow")))
    story.chapter("Second", lambda: "well")
    assert [(row.step, row.notes, row.failed) for row in story.rows] == [
        ("First", "too slow", True),
        ("Second", "well", False),
    ]
    with pytest.raises(UserError, match="not there"):
        story.chapter("Third", partial(fail, UserError("not there")), must=True)


def test_chapters_are_chosen_by_name(story: Story) -> None:
    """Those that the others need are told anyway, and the end, which leaves nothing behind."""
    story.only = ("grade",)
    for title in ("Load", "Upgrade"):
        story.chapter(title, lambda: "")
    story.chapter("Deploy", lambda: "", must=True)
    story.chapter("Delete", lambda: "", always=True)
    assert [row.step for row in story.rows] == ["Upgrade", "Deploy", "Delete"]


def pod(**conditions: str) -> dict[str, object]:
    return {
        "metadata": {"creationTimestamp": "2026-11-26T07:00:00Z"},
        "status": {
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": f"2026-11-26T07:00:{at}Z"}
                for kind, at in conditions.items()
            ],
            "containerStatuses": [
                {"name": "logs", "state": {"running": {"startedAt": "2026-11-26T07:00:59Z"}}},
                {"name": "ray-worker", "state": {"running": {"startedAt": "2026-11-26T07:00:07Z"}}},
            ],
        },
    }


def test_the_time_of_a_scale_out_is_split() -> None:
    """By what Kubernetes noted of each worker; those that never were ready do not count."""
    first = moments(pod(PodScheduled="01", Initialized="05", Ready="20"))
    assert first == {"scheduled": 1, "initialised": 5, "started": 7, "ready": 20}
    second = moments(pod(PodScheduled="03", Initialized="05", Ready="30"))
    never = moments(pod(PodScheduled="09"))
    assert split({"a": first, "b": second, "c": never}) == (
        "2 workers came; after a pod is made: scheduled 2 s, initialised 5 s, started 7 s, "
        "ready 25 s"
    )
    assert split({}) == "no worker came"


def test_a_wrong_name_is_refused_before_anything_happens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A typing error must not look like a run that found nothing."""
    line = refused(main, ["--context", "there", "--only", "Uprade"], capsys)
    assert "'Uprade' is in no name of a chapter or fault; there are: Strict validation, " in line


def test_an_unknown_context_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the real kubectl's list of contexts; nothing is written."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    line = refused(main, ["--context", "there"], capsys)
    assert "kubectl has no context 'there'" in line
    assert not list(tmp_path.iterdir())


def test_steady_traffic_is_of_both_kinds(card: ModelCard) -> None:
    """Some requests have a connection of their own, and all are answered and counted together."""
    with CannedService(card) as service, Traffic(service.url, rate=50) as traffic:
        wait_until(lambda: len(traffic.answers) >= 20)
    assert Counter(answer.status for answer in traffic.answers).keys() == {"200"}
    assert traffic.seconds > 0
    assert not traffic.calls


def test_calls_go_beside_the_traffic(card: ModelCard, tmp_path: Path) -> None:
    """And are counted apart: here nothing answers them, which the file of failures has, too."""
    with (
        CannedService(card) as service,
        Traffic(service.url, rate=50, grpc=f"127.0.0.1:{free_port()}") as traffic,
    ):
        wait_until(lambda: len(traffic.calls) >= 2)
    assert {call.status for call in traffic.calls} == {"UNAVAILABLE"}
    traffic.keep_failures(tmp_path / "failures.csv")
    assert (tmp_path / "failures.csv").read_text().count("UNAVAILABLE\n") == len(traffic.calls)


def test_any_failure_fails_a_change() -> None:
    """And is said with its kind and status."""
    good, bad = Answer(0, 1, "200"), Answer(0, 1, "UNAVAILABLE")
    assert require_no_failure({"requests": [good, good], "gRPC calls": []}) == (
        "0 of 2 requests failed, slowest answer 1.0 s; "
        "0 of 0 gRPC calls failed, slowest answer 0.0 s"
    )
    said = r"^0 of 1 requests failed, .*; 1 of 2 gRPC calls failed \(1 x UNAVAILABLE\), "
    with pytest.raises(CheckFailedError, match=said):
        require_no_failure({"requests": [good], "gRPC calls": [good, bad]})
