"""Spans of real HTTP requests, from real services, at a local Cloud Trace over gRPC."""

import concurrent.futures
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.cloud.trace_v2.types import Span

from serve_app.environment import tracing_environment
from serve_app.model.card import ModelCard
from tests.support.cloud_trace import CloudTrace, attributes_of, name_of
from tests.support.grpc_service import GrpcClient, Outcome, infer_request
from tests.support.iris_requests import BATCH, PREDICT
from tests.support.iris_requests import ROW as SETOSA
from tests.support.ray_metrics import ray_metrics
from tests.support.service import Service, development, production
from tests.support.traced_service import (
    MODEL_SPAN,
    REPLICA_SPAN,
    VIRGINICA,
    Caller,
    events,
    lineage,
    milliseconds,
    predict,
    shapes,
    tracing_to,
    without_proxies,
)
from tests.support.waiting import wait_until

EXPORTING = "serve_app.tracing.child"


@pytest.fixture(scope="module")
def cloud_trace() -> Iterator[CloudTrace]:
    with CloudTrace() as server:
        yield server


@pytest.fixture(scope="module")
def service(
    iris: Path, cloud_trace: CloudTrace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The default model in production mode, tracing every request that its caller samples."""
    directory = tmp_path_factory.mktemp("traced")
    with production(iris, directory, environment=tracing_to(cloud_trace)) as running:
        yield running


def test_span_of_a_prediction(service: Service, cloud_trace: CloudTrace, card: ModelCard) -> None:
    """The model call is a span within Ray's, within the caller's, with what was predicted."""
    caller = Caller()
    sent = time.time()
    assert predict(service, caller).status_code == 200
    answered = time.time()
    model, replica, *_proxies = lineage(caller, cloud_trace)
    arrived = time.time()
    assert name_of(replica) == REPLICA_SPAN
    start, end = model.start_time.timestamp(), model.end_time.timestamp()
    assert sent <= replica.start_time.timestamp() <= start < end <= answered
    # Ray sends the answer within its own span, so that the client can have it before the span ends.
    assert end <= replica.end_time.timestamp() <= arrived
    assert milliseconds(model) < milliseconds(replica)
    attributes = attributes_of(model)
    del attributes["g.co/agent"]
    del attributes["service.instance.id"]
    assert attributes == {
        "predicted_class": "setosa",
        "model.name": card.name,
        "model.version": card.version,
        "model.engine": "onnx",
        "request.protocol": "native",
        "model.rows": 1,
        "model.batch_size": 1,
        "service.name": "iris",
        "service.version": "1.2.3",
    }


def test_spans_of_a_call_of_grpc(service: Service, cloud_trace: CloudTrace) -> None:
    """The model call is a span within Ray's, within the caller's; both name the protocol."""

    def called() -> tuple[Outcome, list[Span]]:
        caller = Caller()
        with GrpcClient(service.grpc_address) as client:
            answer = client("ModelInfer", infer_request(), metadata=tuple(caller.headers.items()))
        assert answer.code is grpc.StatusCode.OK
        return answer, lineage(caller, cloud_trace)

    calls: list[tuple[Outcome, list[Span]]] = []

    def is_direct() -> bool:
        calls.append(called())
        return len(calls[-1][1]) == 2

    # Until HAProxy knows the replica, Serve's proxy answers, and adds its span.
    wait_until(is_direct)
    answer, (model, replica) = calls[-1]
    assert attributes_of(model)["request.protocol"] == "v2-grpc"
    assert name_of(replica) == "replica_handle_request Classifier ModelInfer"
    found = attributes_of(replica)
    assert (found["rpc.method"], found["rpc.grpc.status_code"]) == ("ModelInfer", "OK")
    assert found["request_id"] == answer.trailers["request_id"]


def test_span_of_a_batch_request(service: Service, cloud_trace: CloudTrace) -> None:
    """A batch request is one model call and one span, with its rows and classes."""
    caller = Caller()
    instances = [SETOSA, VIRGINICA, SETOSA]
    answer = httpx.post(
        f"{service.url}{BATCH}",
        json={"instances": instances},
        headers=caller.headers,
        timeout=20,
    )
    assert answer.status_code == 200
    spans = cloud_trace.wait_for(trace_id=caller.trace_id, names=[REPLICA_SPAN, MODEL_SPAN])
    (attributes,) = [attributes_of(span) for span in spans if name_of(span) == MODEL_SPAN]
    assert (attributes["model.rows"], attributes["model.batch_size"]) == (3, 3)
    assert attributes["predicted_class"] == "setosa,virginica"
    assert attributes["predicted_class_counts"] == "2,1"


def test_unsampled_caller(service: Service, cloud_trace: CloudTrace) -> None:
    """A caller that does not sample gets an answer and no span, though the ratio is 1."""
    unsampled, sampled = Caller(sampled=False), Caller()
    assert predict(service, unsampled).status_code == 200
    assert predict(service, sampled).status_code == 200
    cloud_trace.wait_for(trace_id=sampled.trace_id, names=[REPLICA_SPAN, MODEL_SPAN])
    assert cloud_trace.of(unsampled.trace_id) == []


@pytest.fixture(scope="module")
def direct_shapes(service: Service, cloud_trace: CloudTrace) -> list[list[Any]]:
    """Of the direct path."""
    replica = without_proxies(service, cloud_trace)
    # A number that counts; Serve's own ids are random to the last digit.
    assert attributes_of(replica)["request_id"][-12:].startswith("00000000")
    return shapes(service, cloud_trace)


def test_spans_of_the_direct_path(direct_shapes: list[list[Any]]) -> None:
    """The request's with Serve's attributes, and within it the model's, if it was called."""
    single, _, refused = direct_shapes
    (request, request_parent, _, attributes, *_), (model, model_parent, *_) = single
    assert (request, request_parent) == (REPLICA_SPAN, "caller")
    assert (model, model_parent) == (MODEL_SPAN, REPLICA_SPAN)
    ((name, _, _, refused_attributes, *_),) = refused
    assert name == REPLICA_SPAN
    # Cloud Trace has names of its own for what HTTP calls method, status and route.
    (status,) = [key for key in attributes if key.endswith("status_code")]
    assert (attributes[status], refused_attributes[status]) == ("200", "422")


@pytest.mark.parametrize(
    ("break_it", "cause", "fix"),
    [
        (
            lambda server: server.refuse(grpc.StatusCode.PERMISSION_DENIED, "no such right"),
            "PermissionDenied: 403 no such right",
            "grant roles/cloudtrace.agent",
        ),
        (
            lambda server: server.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "over quota"),
            "ResourceExhausted: 429 over quota",
            "lower RAY_SERVE_TRACING_SAMPLING_RATIO",
        ),
        (
            lambda server: server.refuse(grpc.StatusCode.UNAVAILABLE, "come back later"),
            "503 come back later",
            "NetworkPolicy",
        ),
        (CloudTrace.hang, "504 Deadline Exceeded", "drops packets"),
    ],
)
def test_failing_export_is_logged_and_harms_no_request(
    service: Service,
    cloud_trace: CloudTrace,
    break_it: Callable[[CloudTrace], None],
    cause: str,
    fix: str,
) -> None:
    """Each kind of failure is logged once, with cause and fix; every request is answered."""

    def said() -> list[dict[str, Any]]:
        return [event for event in events(service) if cause in event["message"]]

    def more_exports() -> bool:
        predict(service, Caller())
        return cloud_trace.requests >= before + 3

    before = cloud_trace.requests
    break_it(cloud_trace)
    try:
        assert predict(service, Caller()).status_code == 200
        wait_until(lambda: cloud_trace.requests > before)
        # The server refuses, or has not answered yet: no request waits for it.
        assert {predict(service, Caller()).status_code for _ in range(20)} == {200}
        wait_until(said)
        # More exports fail, and are not worth a line of their own.
        wait_until(more_exports)
    finally:
        cloud_trace.work()
    (event,) = said()
    assert event["severity"] == "ERROR"
    assert event["spans_lost"] >= 1
    assert fix in event["fix"]


def test_metrics(service: Service) -> None:
    """What the tests before did is in Ray's own metrics: predictions, sizes, spans by outcome."""
    far = {**SETOSA, "petal_length": 60.0}
    assert httpx.post(f"{service.url}{PREDICT}", json=far, timeout=20).status_code == 200
    wanted = [
        r'serve_app_predictions\w*\{.*engine="onnx".*predicted_class="setosa"',
        r'serve_app_predictions\w*\{.*engine="onnx".*predicted_class="virginica"',
        r'serve_app_model_calls\w*\{.*batch_size="1"',
        r'serve_app_model_calls\w*\{.*batch_size="4"',
        r'serve_app_out_of_range_requests\w*\{.*feature="petal_length"',
        r'serve_app_spans\w*\{.*outcome="exported"',
        r'serve_app_spans\w*\{.*outcome="failed"',
    ]
    wait_until(lambda: all(re.search(line, ray_metrics(service)) for line in wanted), seconds=60)
    value = re.search(rf"{wanted[3]}.* ([0-9.]+)$", ray_metrics(service), re.MULTILINE)
    assert value is not None
    assert float(value[1]) == 1


def test_an_exporting_process_that_is_killed_is_replaced(
    service: Service, cloud_trace: CloudTrace
) -> None:
    """The log says so, no request notices it, and the spans of later requests arrive."""

    def exporting() -> set[int]:
        return {each.pid for each in service.tree() if EXPORTING in each.cmdline()}

    before = exporting()
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert predict(service).status_code == 200
    wait_until(lambda: exporting() - before)
    caller = Caller()
    assert predict(service, caller).status_code == 200
    cloud_trace.wait_for(trace_id=caller.trace_id, names=[REPLICA_SPAN, MODEL_SPAN])
    said = [event for event in events(service) if "has ended: " in event["message"]]
    assert said
    assert all("it is started again" in event["fix"] for event in said)


def test_last_span_is_flushed(service: Service, cloud_trace: CloudTrace) -> None:
    """SIGTERM right after the last answer: the service ends well, and the span has arrived."""
    caller = Caller()
    assert predict(service, caller).status_code == 200
    assert service.stop() == 0
    assert MODEL_SPAN in {name_of(span) for span in cloud_trace.of(caller.trace_id)}


def test_serves_way_has_the_same_spans(
    direct_shapes: list[list[Any]],
    service: Service,
    iris: Path,
    cloud_trace: CloudTrace,
    tmp_path: Path,
) -> None:
    """Names, parents, kinds, every attribute, status and events are those of the direct path."""
    service.stop()
    environment = tracing_to(cloud_trace)
    with production(iris, tmp_path, "direct_path=false", environment=environment) as slower:
        without_proxies(slower, cloud_trace)
        assert shapes(slower, cloud_trace) == direct_shapes


def test_micro_batches_of_serve_run(
    iris_forest: Path, cloud_trace: CloudTrace, tmp_path: Path
) -> None:
    """Under ``serve run``, requests that one model call answers have a span each, alike in time."""
    environment = tracing_to(cloud_trace)
    running = development(
        iris_forest,
        tmp_path,
        args={"engine": "sklearn"},
        environment=environment | tracing_environment(environment),
    )
    with running as service:
        batch_sizes: list[int] = []
        for _ in range(10):
            callers = [Caller() for _ in range(16)]
            with concurrent.futures.ThreadPoolExecutor(len(callers)) as pool:
                answers = list(pool.map(lambda caller: predict(service, caller), callers))
            assert {answer.status_code for answer in answers} == {200}
            spans = []
            for caller in callers:
                model, replica, *_proxies = lineage(caller, cloud_trace)
                assert name_of(replica) == REPLICA_SPAN
                assert attributes_of(model)["model.engine"] == "sklearn"
                assert attributes_of(model)["model.rows"] == 1
                spans.append(model)
            calls: dict[Any, list[Span]] = {}
            for span in spans:
                calls.setdefault((span.start_time, span.end_time), []).append(span)
            for together in calls.values():
                sizes = {attributes_of(span)["model.batch_size"] for span in together}
                assert sizes == {len(together)}
            batch_sizes += map(len, calls.values())
            if max(batch_sizes) > 1:
                break
    assert max(batch_sizes) > 1


def test_no_credentials(iris: Path, tmp_path: Path) -> None:
    """An exporter without credentials costs the spans, not the service, and the log says why."""
    environment = {
        "OTEL_TRACES_EXPORTER": "gcp_trace",
        "OTEL_TRACES_SAMPLER_ARG": "1.0",
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "none.json"),
    }
    with production(iris, tmp_path, environment=environment) as service:
        assert predict(service, Caller()).status_code == 200
        wait_until(lambda: [e for e in events(service) if "spans will be lost" in e["message"]])
    messages = {event["message"] for event in events(service)}
    (message,) = [text for text in messages if text.startswith("spans will be lost")]
    assert message.endswith("fix: run `gcloud auth application-default login`")
