"""Triton's HTTP client for asyncio."""

import asyncio

from tritonclient.http import aio as client

from studies.clients import triton
from studies.clients.case import Case
from studies.clients.checks import Check, Checks, main

AT_ONCE = 20


def ask(case: Case) -> list[Check]:
    """The calls of the client that a user of a model makes."""
    checks = Checks(f"tritonclient.http.aio {triton.VERSION}")
    asyncio.run(_ask(case, checks))
    return checks.found


async def _ask(case: Case, checks: Checks) -> None:
    name, full = case.name, case.without_gaps()
    binary = triton.inputs(client, full)
    text = triton.inputs(client, full, binary_data=False)
    async with client.InferenceServerClient(case.url.removeprefix("http://")) as server:
        await checks.wait("is_server_live", server.is_server_live(), expected=True)
        await checks.wait("is_server_ready", server.is_server_ready(), expected=True)
        await checks.wait("is_model_ready", server.is_model_ready(name), expected=True)
        await checks.wait("is_model_ready, unknown", server.is_model_ready("x"), expected=False)

        async def columns() -> list[str]:
            return [each["name"] for each in (await server.get_model_metadata(name))["inputs"]]

        async def both(in_bytes: bool) -> object:  # noqa: FBT001
            outputs = triton.both(client, binary_data=in_bytes)
            inputs = binary if in_bytes else text
            return triton.answer(await server.infer(name, inputs, outputs=outputs))

        async def many() -> object:
            results = await asyncio.gather(*(server.infer(name, binary) for _ in range(AT_ONCE)))
            return [triton.labels(each) for each in results]

        expected = full.answers
        await checks.wait("get_model_metadata", columns(), case.columns)
        await checks.wait("infer, in and out binary", both(in_bytes=True), expected)
        await checks.wait("infer, in and out JSON", both(in_bytes=False), expected)
        await checks.wait(f"infer, {AT_ONCE} at once", many(), [full.labels] * AT_ONCE)
        await checks.wait_refuses(
            "infer, unknown model", server.infer("nobody", binary), "[404]", "nobody"
        )


if __name__ == "__main__":
    main(ask)
