"""Decision 21's tables are true: each request is sent, and each test that is named is there."""

import ast
import asyncio
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.protobuf.message_factory import GetMessageClass

from serve_app.grpc.rpcs import SERVICE, Rpcs
from serve_app.model.card import ModelCard
from tests.support.grpc_service import infer_request

HERE = Path(__file__).parent
RECORD = HERE.parents[1] / "docs" / "decisions" / "0021-grpc.md"
ROW = re.compile(r"^\| `(\w+)((?: [A-Z]+)*)` \| ([A-Z_]+) \|([^|]*)\|", re.MULTILINE)
PROOF = re.compile(r"`(test_\w+)\.(test_\w+)` \|$", re.MULTILINE)


class Promise(NamedTuple):
    """A line of the table of requests."""

    method: str
    model: tuple[str, ...]
    """Name and version, as far as the request has them."""
    status: str
    fields: tuple[str, ...]


TEXT = RECORD.read_text(encoding="utf-8")
PROMISES = [
    Promise(method, tuple(model.split()), status, tuple(re.findall(r"`(\w+)`", fields)))
    for method, model, status, fields in ROW.findall(TEXT)
]
PROOFS = PROOF.findall(TEXT)


def request_of(promise: Promise, card: ModelCard) -> bytes:
    """The message of a request, with the model's own name and version in their places."""
    names = {"NAME": card.name, "VERSION": card.version}
    name, version, *_ = (*(names.get(each, each) for each in promise.model), "", "")
    if promise.method == "ModelInfer":
        request = infer_request(model_name=name, model_version=version, id="42")
        return bytes(request.SerializeToString())
    kind: Any = GetMessageClass(SERVICE.methods_by_name[promise.method].input_type)
    fields = {"name": name, "version": version} if promise.model else {}
    return bytes(kind(**fields).SerializeToString())


@pytest.mark.parametrize("promise", PROMISES, ids=lambda each: " ".join((each.method, *each.model)))
def test_a_method_answers_as_the_table_says(rpcs: Rpcs, card: ModelCard, promise: Promise) -> None:
    """Its status, and all fields of its answer; ModelInfer has the one output of the default."""
    reply = asyncio.run(rpcs(promise.method, request_of(promise, card), None))
    kind: Any = GetMessageClass(SERVICE.methods_by_name[promise.method].output_type)
    answer = kind.FromString(reply.body)
    assert reply.code.name == promise.status, reply.details
    assert tuple(field.name for field, _ in answer.ListFields()) == promise.fields
    if "raw_output_contents" in promise.fields:
        assert [output.name for output in answer.outputs] == ["predict"]


def test_every_method_is_in_the_table() -> None:
    """What the protocol has, the record speaks of; no line is passed over."""
    assert {each.method for each in PROMISES} == {each.name for each in SERVICE.methods}
    assert len(PROMISES) == TEXT.count("| OK |") + TEXT.count("| NOT_FOUND | |")
    assert len(PROOFS) == 7


@pytest.mark.parametrize(("module", "name"), PROOFS)
def test_a_proof_exists(module: str, name: str) -> None:
    """The test that a line names."""
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
