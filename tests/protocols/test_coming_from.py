"""The page for those who come from another server: its commands and clients are whole."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

from serve_app.http.routes import Routes
from serve_app.serve_config import DEFAULT_GRPC_PORT, DEFAULT_PORT, ServeConfig
from tests.support.curl import Curl
from tests.support.in_process import ask, make_routes
from tests.support.readme import blocks
from tests.support.service import CONFIG

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
BLOCKS = blocks(PAGE)
SERVERS = ("KServe", "MLServer", "Triton", "Vertex AI")
CLIENTS = [each.code for each in BLOCKS if each.language == "diff"]
CURLS = [each.code for each in BLOCKS if each.code.startswith("curl ")]


def after(client: str) -> str:
    """A client as it is to be."""
    return "\n".join(line[1:] for line in client.splitlines() if not line.startswith("-"))


def before(client: str) -> str:
    """A client as it was."""
    return "\n".join(line[1:] for line in client.splitlines() if not line.startswith("+"))


@pytest.fixture(scope="module")
def routes(iris: Path) -> Routes:
    return make_routes(iris)


def test_every_server_has_its_section() -> None:
    """With what was before, what is after, and a client that shows both."""
    text = PAGE.read_text(encoding="utf-8")
    for server in SERVERS:
        _, _, section = text.partition(f"\n## {server}\n")
        section = section.partition("\n## ")[0]
        assert "before" in section, server
        assert "After" in section, server
        assert "```diff" in section, server


@pytest.mark.parametrize("client", CLIENTS, ids=range(len(CLIENTS)))
def test_a_client_is_whole_and_reaches_the_service(client: str) -> None:
    """Before and after are Python; after, the address is the service's."""
    for code in (before(client), after(client)):
        ast.parse(code)
    assert before(client) != after(client)
    address = rf"localhost:({DEFAULT_PORT}|{DEFAULT_GRPC_PORT})\b"
    assert re.search(address, after(client))
    assert ("grpc" in client) == (f":{DEFAULT_GRPC_PORT}" in client)


@pytest.mark.parametrize("code", CURLS)
def test_a_command_works(code: str, routes: Routes) -> None:
    """As it is typed."""
    path, headers, body = Curl.of(code)
    assert ask(routes, "POST", path, body, headers=headers).status == 200


def test_clients_ask_for_what_the_service_has(routes: Routes) -> None:
    """The paths and names that they use are those of the model that the page packages."""
    text = PAGE.read_text(encoding="utf-8")
    assert "--name iris" in text
    for path in ("/v2/models/iris", "/v1/models/iris"):
        assert path in text
        assert ask(routes, "GET", path).status == 200
    described = ask(routes, "GET", "/v2/models/iris").json()
    names = {output["name"] for output in described["outputs"]}
    asked = {name for client in CLIENTS for name in re.findall(r'as_numpy\("(\w+)"', after(client))}
    assert asked
    assert asked <= names


def test_the_options_are_those_of_the_config() -> None:
    """What an InferenceService says of replicas has its place in serve_config.yaml."""
    (shown,) = [each.code for each in BLOCKS if each.code.startswith("deployments:")]
    (deployment,) = yaml.safe_load(shown)["deployments"]
    ours = ServeConfig.read(CONFIG).deployment
    assert deployment["name"] == ours["name"]
    assert deployment["autoscaling_config"].items() <= ours["autoscaling_config"].items()


def test_files_of_other_servers_are_whole() -> None:
    """A reader knows their own in them."""
    (settings,) = [json.loads(each.code) for each in BLOCKS if each.language == "json"]
    assert settings["implementation"] == "mlserver_sklearn.SKLearnModel"
    services = [yaml.safe_load(each.code) for each in BLOCKS if "kind: Inference" in each.code]
    assert [each["kind"] for each in services] == ["InferenceService"]
