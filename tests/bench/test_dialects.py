"""Each server is asked in its own form."""

import json

from bench.contestants import OWN
from bench.dialects import OpenInference
from bench.models import BenchModel


def test_a_document_is_sent_as_json(models: dict[str, BenchModel]) -> None:
    """To the path that is asked for, below the address."""
    model = models["lr"]
    request = OWN.request(model, model.instances[:2], "http://one")
    assert request.url == "http://one/predict/batch/"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"instances": model.instances[:2]}


def test_mlserver_gets_a_tensor_or_typed_columns(models: dict[str, BenchModel]) -> None:
    """An array is one tensor; a table has one input for each column, with null for gaps."""
    _, body = OpenInference().document(models["lr"], models["lr"].instances[:2])
    (tensor,) = body["inputs"]
    assert (tensor["datatype"], tensor["shape"], len(tensor["data"])) == ("FP64", [2, 4], 8)
    mixed = models["mixed"]
    _, body = OpenInference().document(mixed, mixed.instances)
    columns = {column["name"]: column for column in body["inputs"]}
    assert list(columns) == list(mixed.card.feature_names)
    assert body["parameters"] == {"content_type": "pd"}
    assert columns["n0"]["datatype"] == "FP64"
    assert None in columns["n0"]["data"]
    assert columns["c0"]["datatype"] == "BYTES"
    assert columns["c0"]["parameters"] == {"content_type": "str"}
