"""What is left of a run: the tables, the events and the states."""

from collections.abc import Sequence

import click

from deploy.shell import CommandError
from serve_app.cli.style import markdown_table
from studies.e2e.faults import Outcome, table
from studies.e2e.story import Story

REPORT = "report.md"


def write(story: Story, outcomes: Sequence[Outcome]) -> None:
    """Print the tables, and write them into the report."""
    rows = [
        {
            "step": row.step,
            "result": "FAILED" if row.failed else "passed",
            "s": f"{row.seconds:.0f}",
            "notes": " ".join(row.notes.split()),
        }
        for row in story.rows
    ]
    text = "\n\n".join(filter(None, (markdown_table(rows), markdown_table(table(outcomes)))))
    (story.out / REPORT).write_text(f"{text}\n", encoding="utf-8")
    click.echo(f"\n{text}\n")


def keep(story: Story) -> None:
    """Keep events and states beside the table, for whoever reads it later."""
    for name, command in {
        "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
        "status.json": ("get", "rayservices,rayclusters,pods,services", "-ojson"),
    }.items():
        try:
            text = story.cluster.kubectl.read(*command)
        except CommandError as error:
            text = str(error)
        (story.out / name).write_text(text, encoding="utf-8")
    versions = story.cluster.everywhere.read("version", "-ojson")
    (story.out / "versions.json").write_text(versions, encoding="utf-8")
