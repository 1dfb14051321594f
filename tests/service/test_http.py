"""The HTTP interface as a client sees it, through HAProxy and a real replica."""

import concurrent.futures
import gzip
import json
import operator
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serve_app.model.card import ModelCard
from tests.support.iris_requests import BATCH, PREDICT, ROW
from tests.support.raw_http import finished, status_of, unfinished
from tests.support.ray_metrics import ray_metrics, total
from tests.support.service import Service
from tests.support.waiting import wait_until

FUZZ_EXAMPLES = 100


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=20) as client:
        yield client


@pytest.mark.parametrize("headers", [{}, {"x-request-timeout-seconds": "5"}])
def test_both_ways_are_counted_alike(
    service: Service, client: httpx.Client, headers: dict[str, str]
) -> None:
    """Requests on the direct path, and on Serve's own, are in Serve's metrics under its names."""
    many = 50  # more than the start of the service sends, whose count may come late

    def counted() -> list[float]:
        found = ray_metrics(service)
        labels = {"method": "POST", "route": "/"}
        return [
            total(found, "ray_serve_num_http_requests_total", status_code=code, **labels)
            for code in ("200", "422")
        ] + [total(found, "ray_serve_deployment_request_counter_total", route="/")]

    good, bad, both = counted()
    for _ in range(many):
        assert client.post(PREDICT, json=ROW, headers=headers).status_code == 200
        assert client.post(PREDICT, json={}, headers=headers).status_code == 422
    least = (good + many, bad + many, both + 2 * many)
    wait_until(lambda: all(map(operator.ge, counted(), least)), seconds=60)


@pytest.mark.parametrize("path", [PREDICT, "/predict"])
def test_one_row_is_predicted_with_or_without_a_trailing_slash(
    client: httpx.Client, card: ModelCard, path: str
) -> None:
    """POST of one row answers class, probabilities and model version, without a redirect."""
    answer = client.post(path, json=ROW)
    assert answer.status_code == 200
    body = answer.json()
    assert body["predicted_class"] == "setosa"
    assert list(body["probabilities"]) == ["setosa", "versicolor", "virginica"]
    assert sum(body["probabilities"].values()) == pytest.approx(1)
    assert body["model_version"] == card.version


def test_a_batch_equals_its_rows_one_by_one(client: httpx.Client) -> None:
    """The batch endpoint gives each row the answer that it gets alone."""
    rows = [ROW, {**ROW, "petal_length": 4.5, "petal_width": 1.4}, {**ROW, "petal_length": 6.0}]
    batch = client.post(BATCH, json={"instances": rows}).json()["predictions"]
    for row, in_batch in zip(rows, batch, strict=True):
        alone = client.post(PREDICT, json=row).json()
        assert in_batch["predicted_class"] == alone["predicted_class"]
        assert in_batch["probabilities"] == pytest.approx(alone["probabilities"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "classifier"),
        ("/model", "sepal_length"),
        ("/docs", "swagger"),
        ("/openapi.json", "openapi"),
        ("/-/healthz", "success"),
        ("/-/routes", "classifier"),
    ],
)
def test_every_page_answers(client: httpx.Client, path: str, expected: str) -> None:
    """GET of each page answers 200 with what it promises."""
    answer = client.get(path)
    assert answer.status_code == 200
    assert expected in answer.text


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, {"content": b"{"}),
        (400, {"content": b""}),
        (400, {"content": b'{"sepal_length": "\xff"}'}),
        (413, {"content": b" " * (1024 * 1024 + 1)}),
        (415, {"content": gzip.compress(b"{}"), "headers": {"content-encoding": "gzip"}}),
        (415, {"content": b"a=1", "headers": {"content-type": "text/plain"}}),
        (422, {"json": {**ROW, "sepal_length": "5.1"}}),
        (422, {"json": {**ROW, "colour": 1}}),
        (404, {"json": ROW, "url": "/nowhere"}),
        (405, {"method": "DELETE"}),
    ],
)
def test_bad_requests_are_told_what_is_wrong(
    client: httpx.Client, status: int, request_: dict[str, Any]
) -> None:
    """Each kind of bad request gets its status and a JSON detail, through every layer."""
    defaults = {"method": "POST", "url": PREDICT}
    headers = {"content-type": "application/json", **request_.pop("headers", {})}
    answer = client.request(**{**defaults, **request_}, headers=headers)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_a_long_body_is_refused_and_not_reset(service: Service, client: httpx.Client) -> None:
    """Urllib reads no answer before it has sent its whole body: here fifteen times the limit."""
    request = urllib.request.Request(
        service.url + PREDICT, b"x" * (15 << 20), {"content-type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=20)
    with refusal.value as error:
        assert (error.code, "larger than" in json.load(error)["detail"]) == (413, True)
    assert client.post(PREDICT, json=ROW).status_code == 200


def test_a_chunked_body_over_the_limit_is_cut_off(client: httpx.Client) -> None:
    """A body of undeclared length is refused once it passes the limit, not read to its end."""

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    try:
        answer = client.post(
            PREDICT, content=endless(), headers={"content-type": "application/json"}
        )
    except httpx.WriteError:
        return  # refused while still sending, which is an answer too
    assert answer.status_code == 413


def test_a_client_that_leaves_in_the_middle_harms_no_other(
    client: httpx.Client, service: Service
) -> None:
    """A connection closed before its body is complete leaves the service answering."""
    for _ in range(5):
        with pytest.raises(TimeoutError):
            status_of(service.url, unfinished(), seconds=0.2)
    assert client.post(PREDICT, json=ROW).status_code == 200


def test_a_body_that_does_not_end_is_408(service: Service) -> None:
    """Whether or not the client switches Serve's time-out off, its place is free again in time."""
    requests = [unfinished(), unfinished(b"x-request-timeout-seconds: 0")]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda request: status_of(service.url, request), requests))
    assert answers == [408, 408]


@pytest.mark.parametrize(
    "name",
    [b"x-request-id", b"x-request-timeout-seconds", b"x-request-disconnect-disabled", b"cookie"],
)
def test_a_header_that_cannot_be_decoded_is_400(service: Service, name: bytes) -> None:
    """Serve would answer 500 to some of these."""
    assert status_of(service.url, finished(name + b": \xff")) == 400


def test_a_websocket_is_403(service: Service) -> None:
    """The handshake is refused at once instead of hanging."""
    request = (
        b"GET /predict/ HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert status_of(service.url, request) == 403


def test_many_clients_at_once_are_all_answered(service: Service) -> None:
    """Concurrent clients within the limits get 200 and their own answers."""
    petals = [1.0 + 0.05 * step for step in range(100)]

    def predict(petal: float) -> tuple[int, str]:
        answer = httpx.post(
            f"{service.url}{PREDICT}", json={**ROW, "petal_length": petal}, timeout=20
        )
        return answer.status_code, answer.json()["predicted_class"]

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        together = list(pool.map(predict, petals))
    assert [status for status, _ in together] == [200] * len(petals)
    assert together[0][1] == "setosa"
    assert together == [predict(petal) for petal in petals]


def test_fuzzed_requests_never_break_the_service(service: Service) -> None:
    """Requests made from the served OpenAPI document, valid and not, get what it promises."""
    fuzz = subprocess.run(
        [
            *("schemathesis", "run", f"{service.url}/openapi.json", "--checks", "all"),
            *("--max-examples", str(FUZZ_EXAMPLES), "--seed", "0", "--request-timeout", "20"),
            *("--generation-database", "none", "--no-color"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=service.log_file.parent,
    )
    assert fuzz.returncode == 0, fuzz.stdout
    print(fuzz.stdout)
