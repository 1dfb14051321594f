"""A server is measured in each protocol that it speaks, at the address of that protocol."""

import pytest

from bench.contestants import Contestant
from bench.models import BenchModel
from bench.speakers import DIALECTS, SPOKEN, speaking
from serve_app.runtime.processes import Command


@pytest.mark.parametrize("server", SPOKEN)
def test_each_protocol_has_a_contestant(
    server: str, models: dict[str, BenchModel], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All are the same process and application; gRPC has a port of its own."""
    process = Command(["true"], log=tmp_path_factory.mktemp("log") / "log")
    one = Contestant(server, "http://127.0.0.1:1", models["lr"], process, True, grpc_port=2)
    found_process, contestants = speaking((process, [one]))
    assert found_process is process
    assert [each.name for each in contestants] == [f"{server}-{each}-lr" for each in SPOKEN[server]]
    for each, protocol in zip(contestants, SPOKEN[server], strict=True):
        assert each.url.endswith(":2" if protocol == "grpc" else ":1")
        assert each.request(3).url.startswith(each.url)
        assert (each.process, each.application) == (process, server)
        assert (each.dialect, each.batches) == (DIALECTS[protocol], True)
