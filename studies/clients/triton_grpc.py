"""Triton's gRPC clients, blocking and for asyncio."""

import asyncio
import queue
from typing import Any

import numpy as np
from tritonclient import grpc as client
from tritonclient.grpc import aio

from studies.clients import triton
from studies.clients.case import PREDICT, Case
from studies.clients.checks import Check, Checks, main

SECONDS = 20.0
AT_ONCE = 20


def ask(case: Case) -> list[Check]:
    """Every call of both clients that a user of a model makes."""
    checks = Checks(f"tritonclient.grpc {triton.VERSION}")
    with client.InferenceServerClient(case.grpc_address) as server:
        _states(server, case, checks)
        _predictions(server, case.without_gaps(), checks)
        _refusals(server, case.without_gaps(), checks)
    later = Checks(f"tritonclient.grpc.aio {triton.VERSION}")
    asyncio.run(_ask_later(case.without_gaps(), later))
    return [*checks.found, *later.found]


def _states(server: Any, case: Case, checks: Checks) -> None:
    name, version = case.name, case.version
    triton.states(server, case, checks)
    checks("get_server_metadata", lambda: server.get_server_metadata().name, "serve-app")
    described = server.get_model_metadata
    checks("get_model_metadata", lambda: [i.name for i in described(name).inputs], case.columns)
    checks(
        "get_model_metadata, as_json",
        lambda: described(name, version, as_json=True)["versions"],
        [version],
    )


def _predictions(server: Any, case: Case, checks: Checks) -> None:
    inputs = triton.inputs(client, case)

    def infer(**options: Any) -> Any:
        return server.infer(case.name, inputs, **options)

    def called_back() -> Any:
        answers: queue.Queue[Any] = queue.Queue()
        server.async_infer(
            case.name, inputs, callback=lambda result, error: answers.put((result, error))
        )
        result, error = answers.get(timeout=SECONDS)
        if error is not None:
            raise error
        return triton.labels(result)

    checks("infer", lambda: triton.labels(infer()), case.labels)
    checks(
        "infer, outputs",
        lambda: triton.answer(infer(outputs=triton.both(client))),
        case.answers,
    )
    checks(
        "infer, request_id, parameters, version, deadline",
        lambda: (
            infer(
                request_id="7",
                parameters={"trace": "x"},
                model_version=case.version,
                client_timeout=SECONDS,
            )
            .get_response()
            .id
        ),
        "7",
    )
    checks("async_infer, callback", called_back, case.labels)
    if case.numeric:
        many = triton.matrix(client, case, triton.MANY)
        repeated = (case.labels * triton.MANY)[: triton.MANY]
        checks("infer, 1,000 rows", lambda: triton.labels(server.infer(case.name, many)), repeated)


def _refusals(server: Any, case: Case, checks: Checks) -> None:
    inputs = triton.inputs(client, case)
    width = len(case.columns) + 1
    wide = client.InferInput("rows", [1, width], "FP64")
    wide.set_data_from_numpy(np.zeros((1, width)))
    outputs = [client.InferRequestedOutput("logits")]
    classes = [client.InferRequestedOutput(PREDICT, class_count=2)]
    refuses, name = checks.refuses, case.name
    unknown, wrong = "StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"
    refuses("is_model_ready, unknown", lambda: server.is_model_ready("nobody"), unknown)
    refuses("infer, unknown model", lambda: server.infer("nobody", inputs), unknown, "nobody")
    refuses(
        "infer, unknown version",
        lambda: server.infer(name, inputs, model_version="999"),
        unknown,
        "999",
    )
    refuses("infer, too wide", lambda: server.infer(name, [wide]), wrong, f"{width}")
    refuses(
        "infer, unknown output",
        lambda: server.infer(name, inputs, outputs=outputs),
        wrong,
        "logits",
    )
    refuses(
        "infer, class_count",
        lambda: server.infer(name, inputs, outputs=classes),
        wrong,
        "classification",
    )
    if case.numeric:
        huge = triton.matrix(client, case, triton.TOO_MANY)
        refuses(
            "infer, 60,000 rows",
            lambda: server.infer(name, huge),
            "StatusCode.RESOURCE_EXHAUSTED",
            "the limit is",
        )
    refuses(
        "infer, gzip",
        lambda: server.infer(name, inputs, compression_algorithm="gzip"),
        "StatusCode.UNIMPLEMENTED",
        "gzip",
    )
    refuses(
        "get_model_repository_index",
        server.get_model_repository_index,
        "StatusCode.UNIMPLEMENTED",
    )


async def _ask_later(case: Case, checks: Checks) -> None:
    name, inputs = case.name, triton.inputs(aio, case)
    async with aio.InferenceServerClient(case.grpc_address) as server:

        async def both() -> Any:
            return triton.answer(await server.infer(name, inputs, outputs=triton.both(aio)))

        async def many() -> Any:
            results = await asyncio.gather(*(server.infer(name, inputs) for _ in range(AT_ONCE)))
            return [triton.labels(each) for each in results]

        await checks.wait("is_server_ready", server.is_server_ready(), expected=True)
        await checks.wait("is_model_ready", server.is_model_ready(name), expected=True)
        await checks.wait("infer, outputs", both(), case.answers)
        await checks.wait(f"infer, {AT_ONCE} at once", many(), [case.labels] * AT_ONCE)
        await checks.wait_refuses(
            "infer, unknown model",
            server.infer("nobody", inputs),
            "StatusCode.NOT_FOUND",
            "nobody",
        )


if __name__ == "__main__":
    main(ask)
