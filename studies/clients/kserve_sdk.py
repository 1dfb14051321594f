"""KServe's Python SDK: its REST client with V1 and V2, and its gRPC client."""

import asyncio
import logging
from importlib import metadata
from typing import Any

import numpy as np
from kserve import (  # type: ignore[import-not-found]
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.protocol.infer_type import (  # type: ignore[import-not-found]
    RequestedOutput,
)

from studies.clients import arrays
from studies.clients.case import KSERVE_DEFAULT, PREDICT, PROBABILITIES, Case
from studies.clients.checks import Check, Checks, main

VERSION = metadata.version("kserve")


def ask(case: Case) -> list[Check]:
    """Every call of the clients that a user of a model makes."""
    logging.disable()  # it logs a stack trace for each error that it raises
    v1, v2 = Checks(f"KServe SDK {VERSION}, V1"), Checks(f"KServe SDK {VERSION}, V2 REST")
    grpc = Checks(f"KServe SDK {VERSION}, V2 gRPC")
    asyncio.run(_v1(case, v1))
    asyncio.run(_v2(case, v2))
    asyncio.run(_grpc(case.without_gaps(), grpc))
    return [*v1.found, *v2.found, *grpc.found]


async def _v1(case: Case, checks: Checks) -> None:
    client, url, name = InferenceRESTClient(RESTConfig(protocol="v1")), case.url, case.name

    async def labels(rows: list[Any]) -> Any:
        return (await client.infer(url, {"instances": rows}, model_name=name))["predictions"]

    await checks.wait("is_server_live", client.is_server_live(url), expected=True)
    await checks.wait("is_model_ready", client.is_model_ready(url, name), expected=True)
    await checks.wait("infer, rows as arrays", labels(case.matrix), case.labels)
    await checks.wait("infer, rows as objects", labels(case.rows), case.labels)
    await checks.wait_refuses(
        "infer, unknown model",
        client.infer(url, {"instances": case.matrix}, model_name="nobody"),
        *("nobody", "404"),
    )
    await checks.wait_refuses("infer, wrong rows", labels([[]]), "400")
    await client.close()


def request(case: Case, *, binary: bool, model: str = "", outputs: tuple[str, ...] = ()) -> Any:
    """A request for all rows, as the SDK's users write it."""
    inputs = []
    for name, array in arrays.tensors(case).items():
        each = InferInput(name=name, shape=list(array.shape), datatype=arrays.datatype(array))
        each.set_data_from_numpy(array, binary_data=binary)
        inputs.append(each)
    return InferRequest(
        model_name=model or case.name,
        infer_inputs=inputs,
        request_outputs=[RequestedOutput(name) for name in outputs] or None,
        parameters={"binary_data_output": True} if binary else None,
    )


def answer(response: Any, *names: str) -> list[Any]:
    """Outputs by their names; labels are flat."""
    found = {each.name: np.array(each.as_numpy()) for each in response.outputs}
    return [found[name] if name == PROBABILITIES else found[name].reshape(-1) for name in names]


async def _v2(case: Case, checks: Checks) -> None:
    client, url, name = InferenceRESTClient(RESTConfig(protocol="v2")), case.url, case.name
    full = case.without_gaps()

    async def infer(made: Any, *outputs: str) -> Any:
        return answer(await client.infer(url, made, model_name=name), *outputs)

    asked = (PREDICT, PROBABILITIES)
    await checks.wait("is_server_live", client.is_server_live(url), expected=True)
    await checks.wait("is_server_ready", client.is_server_ready(url), expected=True)
    await checks.wait("is_model_ready", client.is_model_ready(url, name), expected=True)
    await checks.wait(
        "is_model_ready, unknown", client.is_model_ready(url, "nobody"), expected=False
    )
    for way, binary in (("binary", True), ("JSON", False)):
        await checks.wait(
            f"infer, in and out {way}",
            infer(request(full, binary=binary), PREDICT),
            [full.labels],
        )
        await checks.wait(
            f"infer, {way}, outputs",
            infer(request(full, binary=binary, outputs=asked), *asked),
            full.answers,
        )
    await checks.wait(
        f"infer, {KSERVE_DEFAULT}",
        infer(request(full, binary=False, outputs=(KSERVE_DEFAULT,)), KSERVE_DEFAULT),
        [full.labels],
    )
    await checks.wait_refuses(
        "infer, unknown model",
        client.infer(url, request(full, binary=False), model_name="nobody"),
        *("nobody", "404"),
    )
    await checks.wait_refuses(
        "infer, unknown output",
        infer(request(full, binary=False, outputs=("logits",)), "logits"),
        *("logits", "400"),
    )
    await client.close()


async def _grpc(case: Case, checks: Checks) -> None:
    client, name = InferenceGRPCClient(case.grpc_address), case.name

    async def infer(made: Any, *outputs: str) -> Any:
        return answer(await client.infer(made), *outputs)

    asked = (PREDICT, PROBABILITIES)
    await checks.wait("is_server_live", client.is_server_live(), expected=True)
    await checks.wait("is_server_ready", client.is_server_ready(), expected=True)
    await checks.wait("is_model_ready", client.is_model_ready(name), expected=True)
    for way, binary in (("raw", True), ("typed", False)):
        await checks.wait(
            f"infer, {way} contents",
            infer(request(case, binary=binary, outputs=asked), *asked),
            case.answers,
        )
    await checks.wait_refuses(
        "infer, unknown model",
        client.infer(request(case, binary=True, model="nobody")),
        *("NOT_FOUND", "nobody"),
    )
    await client.close()


if __name__ == "__main__":
    main(ask)
