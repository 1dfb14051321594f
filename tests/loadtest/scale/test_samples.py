"""Snapshots: the events in them, the summary of them, and what was not as it should be."""

import csv
from dataclasses import fields
from pathlib import Path

from loadtest.scale.samples import Event, ScaleSummary, Snapshot, find_events, write_snapshots


def run(*counts: tuple[int, int, int]) -> list[Snapshot]:
    """Snapshots a second apart, from (replicas desired, replicas running, nodes running)."""
    return [
        Snapshot(
            seconds=float(second),
            requests=100 * second,
            p99_ms=10.0 * second,
            replicas_desired=wanted,
            replicas_running=running,
            nodes_running=nodes,
        )
        for second, (wanted, running, nodes) in enumerate(counts)
    ]


OUT_AND_IN = run((1, 1, 1), (3, 1, 1), (3, 2, 3), (3, 3, 3), (1, 2, 3), (1, 1, 3), (1, 1, 1))


def test_events_tell_the_story() -> None:
    """Every change of the desired replicas, every start and stop has its second."""
    assert find_events(OUT_AND_IN) == [
        Event(1.0, "replicas 2 to 3 desired"),
        Event(2.0, "nodes 2 to 3 joined"),
        Event(2.0, "replica 2 ready"),
        Event(3.0, "replica 3 ready"),
        Event(4.0, "replica 3 stopped"),
        Event(4.0, "replicas 2 to 3 no longer desired"),
        Event(5.0, "replica 2 stopped"),
        Event(6.0, "nodes 2 to 3 left"),
    ]


def test_a_silent_source_is_no_event() -> None:
    """A second in which the dashboard did not answer does not look like replicas lost."""
    samples = [Snapshot(0.0, replicas_running=2), Snapshot(1.0), Snapshot(2.0, replicas_running=2)]
    assert find_events(samples) == []


def test_summary() -> None:
    """Start, most and end; what it cost; how long the scale-up took."""
    summary = ScaleSummary.of(OUT_AND_IN)
    assert summary.replicas == (1, 3, 1)
    assert summary.nodes == (1, 3, 1)
    assert summary.replica_seconds == 1 + 1 + 2 + 3 + 2 + 1
    assert summary.scale_up_seconds == 2.0
    assert summary.worst_p99_ms == 60.0
    assert summary.problems(nodes_must_follow=True) == []


def test_no_scale_out_is_a_problem() -> None:
    """A run in which nothing happened proves nothing."""
    assert ScaleSummary.of(run((1, 1, 1), (1, 1, 1))).problems(nodes_must_follow=True) == [
        "replicas did not scale out: 1 at the start, never more",
        "nodes did not scale out: 1 at the start, never more",
    ]


def test_no_scale_in_is_a_problem() -> None:
    """Nodes that stay cost money; on a cluster of fixed size they do not count."""
    summary = ScaleSummary.of(run((1, 1, 1), (2, 2, 2), (1, 1, 2)))
    assert summary.problems(nodes_must_follow=False) == []
    assert summary.problems(nodes_must_follow=True) == [
        "nodes did not scale in: 2 at the end, 1 at the start"
    ]


def test_settled_is_back_where_it_began() -> None:
    """The wait for the scale-in ends when replicas and nodes have gone."""
    summary = ScaleSummary.of(run((1, 1, 1), (2, 2, 2), (1, 1, 2)))
    assert summary.has_settled(nodes_must_follow=False)
    assert not summary.has_settled(nodes_must_follow=True)


def test_csv_has_every_field(tmp_path: Path) -> None:
    """The raw samples are kept whole."""
    write_snapshots(tmp_path / "samples.csv", OUT_AND_IN)
    with (tmp_path / "samples.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(OUT_AND_IN)
    assert list(rows[0]) == [field.name for field in fields(Snapshot)]
    assert rows[3]["replicas_running"] == "3"
    assert rows[3]["utilisation"] == ""
