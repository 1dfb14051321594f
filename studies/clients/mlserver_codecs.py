"""MLServer's codecs: requests from DataFrames and arrays, and such again from the answers.

The requests go over HTTP as its documents show, over gRPC by its own converters, and through its
command ``mlserver infer``.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import mlserver
import numpy as np
import pandas as pd
import urllib3
from mlserver import grpc as mlserver_grpc
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.grpc import converters
from mlserver.types import InferenceRequest, InferenceResponse, RequestOutput

from studies.clients.case import PREDICT, PROBABILITIES, Case
from studies.clients.checks import Check, Checks, main

VERSION = mlserver.__version__
SECONDS = 20.0
OK = 200


def ask(case: Case) -> list[Check]:
    """Encode, ask, decode."""
    rest, command = Checks(f"MLServer {VERSION}, codecs"), Checks(f"mlserver infer {VERSION}")
    rpc = Checks(f"MLServer {VERSION}, codecs and gRPC")
    # It cannot encode a column of strings with gaps: it asks each value whether it is NaN.
    strings = [name for name in case.columns if case.column_type(name) is str]
    case = case.only(
        *(
            place
            for place, row in enumerate(case.rows)
            if all(row[name] is not None for name in strings)
        )
    )
    table = frame(case)
    _rest(case, table, rest)
    _grpc(case, table, rpc)
    _command(case, command)
    return [*rest.found, *rpc.found, *command.found]


def frame(case: Case) -> pd.DataFrame:
    """The rows as a DataFrame; gaps are NaN among numbers and None among strings."""
    types = {
        name: object if case.column_type(name) in (str, bool) else None for name in case.columns
    }
    return pd.DataFrame(
        {name: pd.Series(case.column(name), dtype=types[name]) for name in case.columns}
    )


def _asking(request: InferenceRequest, *names: str) -> InferenceRequest:
    request.outputs = [RequestOutput(name=name) for name in names]
    return request


def _labels(response: InferenceResponse) -> Any:
    return [each for (each,) in map(np.atleast_1d, StringCodec.decode_output(response.outputs[0]))]


def _decoded(response: InferenceResponse) -> list[Any]:
    """Labels and probabilities, by the codec that each output names."""
    return [_labels(response), NumpyCodec.decode_output(response.outputs[1])]


def _rest(case: Case, table: pd.DataFrame, checks: Checks) -> None:
    def send(request: InferenceRequest) -> InferenceResponse:
        answer = urllib3.request(
            "POST",
            f"{case.url}/v2/models/{case.name}/infer",
            body=request.model_dump_json(),
            headers={"content-type": "application/json"},
            timeout=SECONDS,
        )
        if answer.status != OK:
            raise ValueError(f"{answer.status} {answer.json()['error']}")
        return InferenceResponse.model_validate_json(answer.data)

    def encoded() -> Any:
        return PandasCodec.encode_request(table, use_bytes=False)

    checks("PandasCodec, StringCodec", lambda: _labels(send(encoded())), case.labels)
    checks(
        "PandasCodec both ways",
        lambda: list(PandasCodec.decode_response(send(encoded()))[PREDICT]),
        case.labels,
    )
    checks(
        "PandasCodec, outputs",
        lambda: _decoded(send(_asking(encoded(), PREDICT, PROBABILITIES))),
        [case.labels, case.probabilities],
    )
    if case.numeric:
        checks(
            "NumpyRequestCodec both ways, labels",
            lambda: NumpyRequestCodec.decode_response(
                send(NumpyRequestCodec.encode_request(np.array(case.matrix)))
            ).reshape(-1),
            case.labels,
        )
        checks(
            "NumpyRequestCodec both ways, probabilities",
            lambda: NumpyRequestCodec.decode_response(
                send(
                    _asking(NumpyRequestCodec.encode_request(np.array(case.matrix)), PROBABILITIES)
                )
            ),
            case.probabilities,
        )
    wrong = table.rename(columns={case.columns[0]: "nobody"})
    checks.refuses(
        "PandasCodec, unknown column",
        lambda: send(PandasCodec.encode_request(wrong, use_bytes=False)),
        *("400", "nobody"),
    )


def _grpc(case: Case, table: pd.DataFrame, checks: Checks) -> None:
    with grpc.insecure_channel(case.grpc_address) as channel:
        stub = mlserver_grpc.dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)

        def send(request: InferenceRequest, *, raw: bool) -> InferenceResponse:
            message = converters.ModelInferRequestConverter.from_types(
                request, model_name=case.name, use_raw=raw
            )
            answer = stub.ModelInfer(message, timeout=SECONDS)
            return converters.ModelInferResponseConverter.to_types(answer)

        for way, raw in (("typed", False), ("raw", True)):
            checks(
                f"PandasCodec, {way} contents",
                lambda raw=raw: _labels(  # type: ignore[misc]
                    send(PandasCodec.encode_request(without_gaps(case, table)), raw=raw)
                ),
                case.without_gaps().labels,
            )


def without_gaps(case: Case, table: pd.DataFrame) -> pd.DataFrame:
    """The full rows: gRPC has no null."""
    return table.dropna().astype(
        {name: case.column_type(name) for name in case.columns if case.column_type(name) is not str}
    )


def _command(case: Case, checks: Checks) -> None:
    """``mlserver infer`` reads a request a line, and writes an answer a line."""

    def infer() -> Any:
        with tempfile.TemporaryDirectory() as directory:
            source, target = Path(directory, "in.txt"), Path(directory, "out.txt")
            lines = [
                json.dumps({"id": str(place), "inputs": _inputs(row)})
                for place, row in enumerate(case.without_gaps().rows)
            ]
            source.write_text("\n".join(lines), encoding="utf-8")
            subprocess.run(
                [
                    *(str(Path(sys.executable).with_name("mlserver")), "infer"),
                    *("--url", case.url.removeprefix("http://"), "--model-name", case.name),
                    *("--input-data-path", str(source), "--output-data-path", str(target)),
                    *("--workers", "2", "--transport", "rest"),
                ],
                check=True,
                timeout=60,
                capture_output=True,
            )
            answers = [json.loads(line) for line in target.read_text().splitlines()]
        answers.sort(key=lambda each: int(each["id"]))
        return [each["outputs"][0]["data"][0] for each in answers]

    checks("a file, a request a line", infer, case.without_gaps().labels)


def _inputs(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = {int: "INT64", float: "FP64", bool: "BOOL", str: "BYTES"}
    return [
        {"name": name, "shape": [1, 1], "datatype": names[type(value)], "data": [value]}
        for name, value in row.items()
    ]


if __name__ == "__main__":
    main(ask)
