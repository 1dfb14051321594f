"""No client at all: rows as JSON in a loop of `requests`, for V1 and Vertex AI; V2 by hand."""

from typing import Any

import requests

from studies.clients.case import PROBABILITIES, Case
from studies.clients.checks import Check, Checks, main

SECONDS = 20.0


class _Client:
    """A session of `requests` with one service."""

    def __init__(self, session: requests.Session, url: str) -> None:
        self._session, self._url = session, url

    def get(self, path: str) -> requests.Response:
        return self._session.get(f"{self._url}{path}", timeout=SECONDS)

    def post(self, path: str, body: Any) -> requests.Response:
        return self._session.post(f"{self._url}{path}", json=body, timeout=SECONDS)


def ask(case: Case) -> list[Check]:
    """V1, Vertex AI and V2 with a general client of HTTP."""
    name = f"requests {requests.__version__}"
    with requests.Session() as session:
        client = _Client(session, case.url)
        return [
            *_v1(client, case, Checks(f"{name}, V1")),
            *_vertex(client, case, Checks(f"{name}, Vertex AI")),
            *_v2(client, case, Checks(f"{name}, V2")),
        ]


def _post(client: _Client, path: str, body: Any) -> Any:
    answer = client.post(path, body)
    answer.raise_for_status()
    return answer.json()


def _error(client: _Client, path: str, body: Any) -> list[Any]:
    answer = client.post(path, body)
    return [answer.status_code, list(answer.json())]


def _v1(client: _Client, case: Case, checks: Checks) -> list[Check]:
    path = f"/v1/models/{case.name}"

    def labels(rows: list[Any]) -> Any:
        return _post(client, f"{path}:predict", {"instances": rows})["predictions"]

    checks("GET /v1/models", lambda: client.get("/v1/models").json()["models"], [case.name])
    checks("GET the model", lambda: client.get(path).json()["ready"], expected=True)
    checks("rows as objects", lambda: labels(case.rows), case.labels)
    checks("rows as arrays", lambda: labels(case.matrix), case.labels)
    checks("a loop, row by row", lambda: [labels([r])[0] for r in case.rows], case.labels)
    checks("unknown model", lambda: _error(client, "/v1/models/x:predict", {}), [404, ["error"]])
    checks("no rows", lambda: _error(client, f"{path}:predict", {}), [400, ["error"]])
    return checks.found


def _vertex(client: _Client, case: Case, checks: Checks) -> list[Check]:
    def answers(**body: Any) -> Any:
        return _post(client, case.vertex_route, body)["predictions"]

    checks("health", lambda: client.get(case.vertex_health_route).status_code, 200)
    checks("instances as objects", lambda: answers(instances=case.rows), case.labels)
    checks("instances as arrays", lambda: answers(instances=case.matrix), case.labels)
    checks(
        "parameters: output",
        lambda: answers(instances=case.rows, parameters={"output": PROBABILITIES}),
        case.probabilities,
    )
    checks("no instances", lambda: _error(client, case.vertex_route, {}), [400, ["error"]])
    return checks.found


def _v2(client: _Client, case: Case, checks: Checks) -> list[Check]:
    path, count = f"/v2/models/{case.name}", len(case.rows)
    datatypes = {
        each["name"]: each["datatype"] for each in client.get(path).json().get("inputs", [])
    }
    inputs = [
        {"name": each, "shape": [count], "datatype": datatypes[each], "data": case.column(each)}
        for each in case.columns
    ]
    # As the metadata says: a client may be generated from it alone.
    checks(
        "inputs as the metadata says",
        lambda: _post(client, f"{path}/infer", {"inputs": inputs})["outputs"][0]["data"],
        case.labels,
    )
    checks("GET ready", lambda: client.get("/v2/health/ready").status_code, 200)
    checks("no inputs", lambda: _error(client, f"{path}/infer", {}), [400, ["error"]])
    return checks.found


if __name__ == "__main__":
    main(ask)
