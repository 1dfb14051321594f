"""Requests to a service that traces, and the spans that arrive at a local Cloud Trace."""

import json
import re
import secrets
from typing import Any

import httpx
from google.cloud.trace_v2.types import Span

from serve_app.tracing.exporters import ENDPOINT_VARIABLE
from tests.support.cloud_trace import CloudTrace, attributes_of, name_of
from tests.support.iris_requests import BATCH, PREDICT
from tests.support.iris_requests import ROW as SETOSA
from tests.support.service import Service
from tests.support.waiting import wait_until

VIRGINICA = {"sepal_length": 6.5, "sepal_width": 3.0, "petal_length": 5.8, "petal_width": 2.2}
REPLICA_SPAN = "replica_handle_request Classifier __call__"
MODEL_SPAN = "model_prediction"
RANDOM = ("request_id", "replica_id", "service.instance.id", "g.co/agent")
"""Attributes that differ between any two services."""
REFUSED = {**SETOSA, "sepal_length": "long"}


class Caller:
    """An upstream service: its own trace and span, which it hands on as ``traceparent``."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.trace_id = secrets.token_hex(16)
        self.span_id = secrets.token_hex(8)
        self.headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-0{int(sampled)}"}


def tracing_to(server: CloudTrace) -> dict[str, str]:
    return {
        "OTEL_TRACES_EXPORTER": "gcp_trace",
        "OTEL_TRACES_SAMPLER_ARG": "1.0",
        "OTEL_SERVICE_NAME": "iris",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2.3",
        "GOOGLE_CLOUD_PROJECT": "my-project",
        ENDPOINT_VARIABLE: server.endpoint,
    }


def predict(service: Service, caller: Caller | None = None) -> httpx.Response:
    return httpx.post(
        f"{service.url}{PREDICT}",
        json=SETOSA,
        headers=caller.headers if caller is not None else {},
        timeout=20,
    )


def events(service: Service) -> list[dict[str, Any]]:
    """Events that the application logged; Ray puts the process before each line."""
    lines = re.findall(r'\{"time": .*\}', service.log())
    return [json.loads(line) for line in lines]


def lineage(caller: Caller, cloud_trace: CloudTrace) -> list[Span]:
    """The one model span of a trace and its ancestors up to the caller's child.

    Serve's proxies are among them: in development, and in production until HAProxy knows the
    replica.
    """
    spans: dict[str, Span] = {}

    def complete() -> bool:
        spans.update({span.span_id: span for span in cloud_trace.of(caller.trace_id)})
        parents = {span.parent_span_id for span in spans.values()}
        names = {name_of(span) for span in spans.values()}
        return MODEL_SPAN in names and parents <= {*spans, caller.span_id}

    wait_until(complete)
    line = [span for span in spans.values() if name_of(span) == MODEL_SPAN]
    assert len(line) == 1
    while line[-1].parent_span_id != caller.span_id:
        line.append(spans[line[-1].parent_span_id])
    return line


def milliseconds(span: Span) -> float:
    return float((span.end_time - span.start_time).total_seconds() * 1000)


def without_proxies(service: Service, cloud_trace: CloudTrace) -> Span:
    """Wait until requests reach the replica itself; returns Serve's span of the first that did."""
    lines: list[list[Span]] = []

    def reaches_it() -> bool:
        caller = Caller()
        assert predict(service, caller).status_code == 200
        lines.append(lineage(caller, cloud_trace))
        return len(lines[-1]) == 2

    wait_until(reaches_it)
    return lines[-1][1]


def shapes(service: Service, cloud_trace: CloudTrace) -> list[list[Any]]:
    """What a service tells of a prediction, a batch and a refusal, but ids, times and `RANDOM`."""
    found = []
    for path, content, status in (
        (PREDICT, SETOSA, 200),
        (BATCH, {"instances": [SETOSA, VIRGINICA]}, 200),
        (PREDICT, REFUSED, 422),
    ):
        caller = Caller()
        headers = {**caller.headers, "tracestate": "vendor=1"}
        answer = httpx.post(f"{service.url}{path}", json=content, headers=headers, timeout=20)
        assert answer.status_code == status
        names = {REPLICA_SPAN, MODEL_SPAN} if status == 200 else {REPLICA_SPAN}
        spans = cloud_trace.wait_for(trace_id=caller.trace_id, names=names)
        ids = {span.span_id: name_of(span) for span in spans} | {caller.span_id: "caller"}
        found.append([shape(span, ids) for span in spans])
    return found


def shape(span: Span, names: dict[str, str]) -> Any:
    attributes = {key: value for key, value in attributes_of(span).items() if key not in RANDOM}
    told = (span.status, span.time_events, span.links, span.same_process_as_parent_span)
    return name_of(span), names[span.parent_span_id], span.span_kind, attributes, *map(str, told)
