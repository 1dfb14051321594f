"""A protocol is a module that is found by its name, and nothing else knows of it."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from serve_app.protocols import native
from serve_app.protocols.answers import json_answer
from serve_app.protocols.protocol import PACKAGE, ProtocolError, require_protocols
from serve_app.settings import Settings
from tests.support.in_process import ask, make_routes, post
from tests.support.iris_requests import ROW


def test_another_protocol_is_a_module(iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put beside the others and named in the settings, it answers on its paths in its form."""

    class Translator(native.Translator):
        prefix = "/shout"

        def __init__(self, use_case: Any) -> None:
            super().__init__(use_case)
            self.predictions = {"/shout/predict": self._predict}
            self.documents = {"/shout": lambda: json_answer("HELLO")}

        def refused(self, status: int, detail: str, headers: Any = ()) -> Any:
            return json_answer(detail.upper(), status, headers)

        def unknown(self, path: str) -> str | None:
            return f"no {path}"

    module = ModuleType("shout")
    module.Translator = Translator  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.shout", module)
    routes = make_routes(iris, protocols=["shout"])
    assert post(routes, ROW, "/shout/predict").json() == post(routes, ROW).json()
    assert ask(routes, "GET", "/shout").json() == "HELLO"
    assert ask(routes, "GET", "/shout/x").json() == "NO /SHOUT/X"
    assert ask(routes, "GET", "/shouting").status == 404
    assert ask(routes, "GET", "/v2").status == 404


@pytest.mark.parametrize("name", ["none", "tensors", "v2.x", "../v2", ""])
def test_a_protocol_that_is_none_is_refused(name: str) -> None:
    """Also where there is a module of this name that is something else."""
    with pytest.raises(ProtocolError, match="there is no protocol of this name"):
        require_protocols([name])
    require_protocols(Settings().protocols)


@pytest.mark.parametrize(("text", "names"), [("v2,native", ("v2", "native")), ("", ())])
def test_a_command_line_names_several(text: str, names: tuple[str, ...]) -> None:
    """``protocols=v2,native``; empty for /predict/ alone."""
    assert Settings.model_validate({"protocols": text}).protocols == names
