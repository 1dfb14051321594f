"""``serve-app scale``: load a service, record how it scales, judge it and write the report."""

from loadtest.driver.locust_run import Load
from loadtest.scale.plan import ScalePlan
from loadtest.scale.report import describe, write_report
from loadtest.scale.run import run_load
from loadtest.scale.samples import ScaleSummary
from loadtest.scale.services import watched_service
from serve_app.errors import CheckFailedError
from serve_app.runtime.local_service import Progress
from serve_app.runtime.signals import stopped_by_signals


def run_scale(plan: ScalePlan) -> None:
    """Run ``plan`` to its end and write the report into ``plan.out``.

    Raises:
        CheckFailedError: a threshold is broken, or replicas or nodes did not scale out and in;
            one line for each problem.
        UserError: the service cannot be started, reached or loaded.
        KeyboardInterrupt: SIGINT or SIGTERM came; everything that was started is stopped.
    """
    progress = Progress()
    plan.out.mkdir(parents=True, exist_ok=True)
    with stopped_by_signals(), watched_service(plan, progress) as service:
        progress("ready; loading")
        record = run_load(
            service.dashboard,
            service.load,
            plan.out,
            pods=service.pods,
            thresholds=plan.thresholds,
            has_settled=lambda snapshots: ScaleSummary.of(snapshots).has_settled(
                nodes_must_follow=service.nodes_must_follow
            ),
            settle_seconds=plan.settle_seconds,
        )
        progress("stopping everything that was started")
    summary = ScaleSummary.of(record.snapshots)
    problems = [
        *record.problems,
        *summary.problems(nodes_must_follow=service.nodes_must_follow),
        *too_little_load(summary, service.load, service.cpu_target),
    ]
    page = write_report(
        plan.out,
        record.snapshots,
        problems=problems,
        settings={
            **service.settings,
            "load": str(record.summary),
            "sent again": f"{record.summary.sent_again} requests, whose idle connection was being "
            "closed (RFC 9110, 9.2.2)",
        },
        caption=service.caption,
        cpu_target=service.cpu_target,
    )
    for name, value in describe(summary).items():
        print(f"  {name:<48}{value}")
    progress(f"report: {page}")
    if problems:
        raise CheckFailedError("\n".join(problems))


def too_little_load(summary: ScaleSummary, load: Load, cpu_target: float | None) -> list[str]:
    """A sentence that says what to raise if the load was too small for more replicas."""
    highest = summary.highest_utilisation
    if summary.scaled_out or highest is None or cpu_target is None or highest >= cpu_target:
        return []
    if load.peak_rps is None:
        advice = f"raise --users, {load.users} now"
    else:
        advice = (
            f"raise --user-rate, {load.user_rate:g} now: {load.users} users offered "
            f"{load.peak_rps:.0f} requests/s"
        )
    reason = f"CPU utilisation was {highest:.0%} at most, under its target of {cpu_target:.0%}"
    return [f"the load was too small: {reason}; {advice}"]
