"""Triton's HTTP client: tensors in bytes, as it sends them unless told otherwise, and in JSON."""

from typing import Any

import numpy as np
from tritonclient import http as client

from studies.clients import triton
from studies.clients.case import PREDICT, Case
from studies.clients.checks import Check, Checks, main


def ask(case: Case) -> list[Check]:
    """Every call of the client that a user of a model makes."""
    checks = Checks(f"tritonclient.http {triton.VERSION}")
    server = client.InferenceServerClient(case.url.removeprefix("http://"), concurrency=4)
    try:
        _states(server, case, checks)
        _predictions(server, case.without_gaps(), checks)
        if (gap := case.one_gap()).rows:
            fewer = triton.inputs(client, gap)
            checks(
                "infer, a column left out",
                lambda: triton.labels(server.infer(case.name, fewer)),
                gap.labels,
            )
        _refusals(server, case.without_gaps(), checks)
    finally:
        server.close()
    return checks.found


def _states(server: Any, case: Case, checks: Checks) -> None:
    name, version = case.name, case.version
    triton.states(server, case, checks)
    checks("is_model_ready, unknown", lambda: server.is_model_ready("nobody"), expected=False)
    checks("get_server_metadata", lambda: server.get_server_metadata()["name"], "serve-app")
    described = server.get_model_metadata
    checks(
        "get_model_metadata", lambda: [i["name"] for i in described(name)["inputs"]], case.columns
    )
    checks("get_model_metadata, version", lambda: described(name, version)["versions"], [version])


def _predictions(server: Any, case: Case, checks: Checks) -> None:
    def infer(inputs: Any, **options: Any) -> Any:
        return server.infer(case.name, inputs, **options)

    binary, text = triton.inputs(client, case), triton.inputs(client, case, binary_data=False)
    expected = case.answers
    checks("infer, in and out binary", lambda: triton.labels(infer(binary)), case.labels)
    checks(
        "infer, in binary, out JSON",
        lambda: triton.answer(infer(binary, outputs=triton.both(client, binary_data=False))),
        expected,
    )
    checks(
        "infer, in JSON, out binary",
        lambda: triton.answer(infer(text, outputs=triton.both(client))),
        expected,
    )
    checks(
        "infer, in and out JSON, version",
        lambda: triton.answer(
            infer(
                text,
                outputs=triton.both(client, binary_data=False),
                model_version=case.version,
            )
        ),
        expected,
    )
    checks(
        "infer, request_id and parameters",
        lambda: [
            infer(binary, request_id="7", parameters={"trace": "x"}).get_response()[key]
            for key in ("id", "model_name", "model_version")
        ],
        ["7", case.name, case.version],
    )
    checks(
        "infer, priority and timeout",
        lambda: triton.labels(infer(binary, priority=1, timeout=1_000_000)),
        case.labels,
    )
    checks(
        "async_infer, 20 at once",
        lambda: [
            triton.labels(each.get_result())
            for each in [server.async_infer(case.name, binary) for _ in range(20)]
        ],
        [case.labels] * 20,
    )
    if case.numeric:
        # What fits single precision and is compared with the answers to double precision.
        single = client.InferInput("rows", [1, len(case.columns)], "FP32")
        single.set_data_from_numpy(np.array(case.matrix[:1], dtype=np.float32))
        checks("infer, FP32", lambda: triton.labels(infer([single])), case.labels[:1])
        many = triton.matrix(client, case, triton.MANY)
        repeated = (case.labels * triton.MANY)[: triton.MANY]
        checks("infer, 1,000 rows", lambda: triton.labels(infer(many)), repeated)


def _refusals(server: Any, case: Case, checks: Checks) -> None:
    inputs = triton.inputs(client, case)
    width = len(case.columns) + 1
    wide = client.InferInput("rows", [1, width], "FP64")
    wide.set_data_from_numpy(np.zeros((1, width)))
    other = client.InferRequestedOutput("logits")
    classes = client.InferRequestedOutput(PREDICT, class_count=2)
    refuses = checks.refuses
    refuses("infer, unknown model", lambda: server.infer("nobody", inputs), "[404]", "nobody")
    refuses(
        "infer, unknown version",
        lambda: server.infer(case.name, inputs, model_version="999"),
        "[404]",
        "999",
    )
    refuses("infer, too wide", lambda: server.infer(case.name, [wide]), "[400]", f"{width}")
    refuses(
        "infer, unknown output",
        lambda: server.infer(case.name, inputs, outputs=[other]),
        "[400]",
        "logits",
    )
    refuses(
        "infer, class_count",
        lambda: server.infer(case.name, inputs, outputs=[classes]),
        "[400]",
        "classification",
    )
    refuses(
        "infer, gzip",
        lambda: server.infer(case.name, inputs, request_compression_algorithm="gzip"),
        "[415]",
        "gzip",
    )
    if case.numeric:
        huge = triton.matrix(client, case, triton.TOO_MANY)
        refuses("infer, 60,000 rows", lambda: server.infer(case.name, huge), "[413]", "larger")
        one = triton.matrix(client, case, 1)
        checks(
            "infer, after that",
            lambda: triton.labels(server.infer(case.name, one)),
            case.labels[:1],
        )
    refuses("get_model_metadata, unknown", lambda: server.get_model_metadata("nobody"), "[404]")
    refuses("get_model_repository_index", server.get_model_repository_index, "[404]")


if __name__ == "__main__":
    main(ask)
