"""The report of a run: one HTML page that needs nothing else, the picture, the raw samples."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from loadtest.driver.results import LoadSummary
from loadtest.scale.chart import draw
from loadtest.scale.samples import ScaleSummary, Snapshot, find_events, write_snapshots

HTML_FILE, PICTURE_FILE, SAMPLES_FILE = "report.html", "scale.png", "samples.csv"

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto;
         padding: 0 1rem; color: #222 }}
  img {{ max-width: 100% }}
  table {{ border-collapse: collapse; margin: 1rem 0 }}
  th, td {{ padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: left }}
  td + td {{ font-variant-numeric: tabular-nums }}
  .passed {{ color: #1a7f37 }} .failed {{ color: #c62828 }}
</style>
<h1>{title}</h1>
{verdict}
<img alt="Load, response time, CPU utilisation, replicas and nodes over time"
     src="data:image/png;base64,{picture}">
<h2>In numbers</h2>
{numbers}
<h2>What happened when</h2>
{events}
<h2>How it was run</h2>
{settings}
<p><a download="{samples_file}" href="data:text/csv;base64,{samples}">The samples, one a second,
as CSV</a></p>
</html>
"""


def write_report(
    directory: Path,
    snapshots: Sequence[Snapshot],
    *,
    load: LoadSummary,
    problems: Sequence[str],
    settings: Mapping[str, str],
    caption: str,
    cpu_target: float | None,
) -> Path:
    """Write page, picture and samples into ``directory``; returns the page's path."""
    summary = ScaleSummary.of(snapshots)
    picture, samples = directory / PICTURE_FILE, directory / SAMPLES_FILE
    draw(picture, snapshots, cpu_target=cpu_target, caption=caption)
    write_snapshots(samples, snapshots)
    page = PAGE.format(
        title=" → ".join(map(str, summary.replicas)) + " replicas",
        verdict=_verdict(problems),
        picture=base64.b64encode(picture.read_bytes()).decode(),
        numbers=_table(describe(summary, load).items()),
        events=_table((f"{event.seconds:.0f} s", event.text) for event in find_events(snapshots)),
        settings=_table(settings.items()),
        samples_file=SAMPLES_FILE,
        samples=base64.b64encode(samples.read_bytes()).decode(),
    )
    path = directory / HTML_FILE
    path.write_text(page, encoding="utf-8")
    return path


def describe(summary: ScaleSummary, load: LoadSummary) -> dict[str, str]:
    """The summary: names of the numbers, and the numbers with their units."""
    rows = {"requests": f"{summary.requests:,}, {summary.failures:,} failed"}
    if load.causes:
        rows["failed"] = load.failed_by_cause
    if load.sent_again:
        rows["sent again, and counted twice"] = (
            f"{load.sent_again:,}: their idle connection was being closed (RFC 9110, 9.2.2)"
        )
    if load.versions:
        rows["answered by model version"] = load.answered_by_version
    rows["replicas: start, most, end"] = ", ".join(map(str, summary.replicas))
    if summary.nodes is not None:
        rows["worker nodes: start, most, end"] = ", ".join(map(str, summary.nodes))
    if summary.scale_up_seconds is not None:
        rows["more desired until the most were ready"] = f"{summary.scale_up_seconds:.0f} s"
    if summary.worst_p99_ms is not None:
        rows["worst p99 of any ten seconds"] = f"{summary.worst_p99_ms:.0f} ms"
    rows["replica-seconds"] = f"{summary.replica_seconds:.0f}"
    return rows


def _verdict(problems: Sequence[str]) -> str:
    if not problems:
        return '<p class="passed">Passed: no request failed, and the service scaled out and in.</p>'
    items = "".join(f"<li>{html.escape(problem)}</li>" for problem in problems)
    return f'<p class="failed">Failed:</p><ul class="failed">{items}</ul>'


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (map(html.escape, row) for row in rows)
    lines = (f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in cells)
    return f"<table>{''.join(lines)}</table>"
