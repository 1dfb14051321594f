"""The page for those who come from another server: its commands and clients are whole."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.render import Manifests, release
from serve_app.http.routes import Routes
from serve_app.serve_config import DEFAULT_GRPC_PORT, DEFAULT_PORT, ServeConfig
from tests.support.curl import Curl
from tests.support.in_process import ask, make_routes
from tests.support.readme import blocks
from tests.support.service import CONFIG, PROJECT

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
BLOCKS = blocks(PAGE)
SERVERS = ("KServe", "MLServer", "Seldon", "Triton", "Vertex AI")
CLIENTS = [each.code for each in BLOCKS if each.language == "diff"]
CONFIGS = [each.code for each in BLOCKS if each.code.startswith("applications:")]
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
    assert ("grpc" in client.lower()) == (f":{DEFAULT_GRPC_PORT}" in client)


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


def merged(ours: Any, shown: Any) -> Any:
    """``ours`` with the values that are shown; every name must be there already."""
    if isinstance(shown, dict):
        assert shown.keys() <= ours.keys()
        return {**ours, **{name: merged(ours[name], value) for name, value in shown.items()}}
    if isinstance(shown, list):
        (one,), (other,) = ours, shown  # one application of one deployment
        assert one["name"] == other["name"]
        return [merged(one, other)]
    return shown


def test_every_server_has_a_manifest_after() -> None:
    """A part of serve_config.yaml."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [each.partition("\n")[0] for each in sections if "\napplications:" in each] == [*SERVERS]


@pytest.mark.parametrize("shown", CONFIGS, ids=SERVERS)
def test_a_manifest_after_renders(shown: str, tmp_path: Path) -> None:
    """Put into serve_config.yaml, it is taken, and rendered with as many workers as it says."""
    document = merged(ServeConfig.read(CONFIG).document, yaml.safe_load(shown))
    path = tmp_path / CONFIG.name
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    config = ServeConfig.read(path)
    files = Manifests(PROJECT, config).generated_files()
    patch = yaml.safe_load(files[PROJECT / "kuberay" / "base" / "generated.yaml"])
    values = {each["path"].rpartition("/")[2]: each["value"] for each in patch}
    assert yaml.safe_load(values["serveConfigV2"]) == document
    assert values["minReplicas"] == config.scaling.autoscaling.min_replicas


def test_the_release_is_what_is_rendered() -> None:
    """The part of its file that the page shows."""
    (shown,) = [each.code for each in BLOCKS if each.code.startswith("images:")]
    image = "registry.example.com/iris@sha256:" + 64 * "a"
    written = yaml.safe_load(release(image, "unknown"))
    name, _, digest = image.partition("@sha256:")
    shown = shown.replace("REGISTRY/iris", name).replace("DIGEST", digest)
    assert yaml.safe_load(shown) == {"images": written["images"]}


def test_the_upload_to_vertex_is_one() -> None:
    """That of the page on protocols, which names the routes that the service has."""
    (upload,) = [each.code for each in BLOCKS if "--container-predict-route" in each.code]
    assert f"```bash\n{upload}\n```" in (PAGE.parent / "protocols.md").read_text(encoding="utf-8")


def test_files_of_other_servers_are_whole() -> None:
    """A reader knows their own in them."""
    model, server = [json.loads(each.code) for each in BLOCKS if each.language == "json"]
    assert model["implementation"] == "mlserver_sklearn.SKLearnModel"
    assert server["http_port"] == 8080
    manifests = [yaml.safe_load(each.code) for each in BLOCKS if "\nkind: " in each.code]
    kinds = ["InferenceService", "Model", "SeldonDeployment", "Deployment"]
    assert [each["kind"] for each in manifests] == kinds
