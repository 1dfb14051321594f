"""Vertex AI's environment variables are honoured, and checked before anything starts."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from serve_app.environment import EnvironmentVariableError
from serve_app.runtime import launch as launching
from serve_app.runtime.launch import Launch, launch
from serve_app.runtime.ports import free_port
from serve_app.runtime.vertex import VertexContract
from serve_app.serve_config import ServeConfig
from tests.support.service import CONFIG

ROOT = Path(__file__).parents[2]


def variables(**values: str) -> dict[str, str]:
    return {f"AIP_{name.upper()}": value for name, value in values.items()}


@pytest.mark.parametrize("is_given", [False, True])
def test_the_image_listens_where_vertex_sends(
    iris: Path, monkeypatch: pytest.MonkeyPatch, is_given: bool
) -> None:
    """Its port, unless the command line has one, and its routes."""
    given = free_port() if is_given else None
    deployed: list[ServeConfig] = []
    route = "/v1/endpoints/1/deployedModels/2"
    port = free_port()
    own = variables(http_port=str(port), predict_route=f"{route}:predict", health_route=route)
    monkeypatch.setattr(os, "environ", {**os.environ, **own})
    monkeypatch.setattr(launching, "LocalService", lambda config, **_: deployed.append(config))
    monkeypatch.setattr(launching, "supervise", lambda *_, **__: None)
    config = ServeConfig.read(CONFIG, [f"model_dir={iris}"])
    launch(Launch(config, port=given, grpc_port=free_port()))
    (config,) = deployed
    options: dict[str, Any] = config.document["http_options"]
    assert options["port"] == (given or port)
    settings = config.settings
    assert (settings.vertex_predict_route, settings.vertex_health_route) == (
        f"{route}:predict",
        route,
    )


def test_elsewhere_nothing_changes() -> None:
    """Variables that are empty are as good as none."""
    for environment in ({}, variables(http_port="", predict_route="", health_route="")):
        contract = VertexContract.read(environment)
        assert (contract.port, contract.arguments) == (None, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http_port", "0"),
        ("http_port", "65536"),
        ("http_port", "0000801234567"),
        ("http_port", "-1"),
        ("http_port", "http"),
        ("http_port", "9" * 5000),
        ("predict_route", "predict"),
        ("predict_route", "/a b"),
        ("health_route", "/x?y"),
    ],
)
def test_an_impossible_value_is_named(name: str, value: str) -> None:
    """The variable and its value, in one line."""
    with pytest.raises(
        EnvironmentVariableError, match=re.escape(f"AIP_{name.upper()}='{value[:5]}")
    ):
        VertexContract.read(variables(**{name: value}))


def test_the_images_health_check_asks_the_same_port() -> None:
    """Docker would otherwise call a healthy container unhealthy."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    check = text[text.index("HEALTHCHECK") :].partition("\n")[2].partition("\n")[0]
    assert "os.environ.get('AIP_HTTP_PORT') or 8000" in check
