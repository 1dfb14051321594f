"""The generated messages are those of the published protocol."""

import re
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from serve_app.grpc import generated
from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2

PROTO = Path(generated.__path__[0], "open_inference_grpc.proto")
FIELD = re.compile(r"(repeated )?(map<string, \w+>|\w+) (\w+) = (\d+);")
RPC = re.compile(r"rpc (\w+)\((\w+)\) returns \((\w+)\)")
TYPES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}

Field = tuple[str, str, int, str]


def published() -> Iterator[Field]:
    """Message, field, number and type of each field, as the proto has them."""
    path: list[str] = []
    name = ""
    for line in re.sub(r"//.*", "", PROTO.read_text(encoding="utf-8")).splitlines():
        if found := re.match(r"\s*(message|oneof|service) (\w+)", line):
            name = found[2] if found[1] == "message" else ""
        for brace in re.findall(r"[{}]", line):
            if brace == "{":
                path.append(name)
            else:
                path.pop()
        if found := FIELD.search(line):
            repeated, kind, field, number = found.groups()
            message = ".".join(filter(None, path))
            yield message, field, int(number), f"{repeated or ''}{kind}"


def _type(field: FieldDescriptor) -> str:
    kind = TYPES[field.type]
    if field.message_type is not None:
        kind = field.message_type.name
        if field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            return f"map<string, {value.message_type.name if value.message_type else 'string'}>"
    return f"repeated {kind}" if field.is_repeated else kind


def _fields(message: Descriptor, name: str) -> Iterator[Field]:
    for field in message.fields:
        yield name, field.name, field.number, _type(field)
    for inner in message.nested_types:
        if not inner.GetOptions().map_entry:
            yield from _fields(inner, f"{name}.{inner.name}")


def test_every_field_is_the_published_one() -> None:
    """Names, numbers and types: a proto that is changed needs new messages, and no other does."""
    expected = set(published())
    made = {
        field
        for name, message in pb2.DESCRIPTOR.message_types_by_name.items()
        for field in _fields(message, name)
    }
    assert made == expected
    assert len(expected) > 50


def test_every_method_is_the_published_one() -> None:
    """Of one service, with its requests and answers; none of them streams."""
    (service,) = pb2.DESCRIPTOR.services_by_name.values()
    assert service.full_name == "inference.GRPCInferenceService"
    made = {(each.name, each.input_type.name, each.output_type.name) for each in service.methods}
    assert made == set(RPC.findall(PROTO.read_text(encoding="utf-8")))
    assert not any(each.client_streaming or each.server_streaming for each in service.methods)


def test_the_licence_is_with_the_proto() -> None:
    """It is Apache-2.0, whose notice must stay."""
    text = PROTO.read_text(encoding="utf-8")
    assert text.startswith("// Copyright 2023 The KServe Authors.")
    assert "Apache License, Version 2.0" in text
