"""gcloud, kubectl, helm and gh as programs that remember what was created and record each call.

They know the commands that the project uses and refuse every other one.
"""

import json
import os
import site
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOOLS = ("gcloud", "gke-gcloud-auth-plugin", "kubectl", "helm", "gh", "git")
SITE = site.getsitepackages() if __name__ != "fake_tools" else []
State = dict[str, Any]


class RefusedError(Exception):
    """What a real tool would answer with exit code 1."""


class FakeTools:
    """Programs in a directory, to be put on PATH."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self._state = directory / "state.json"
        self._log = directory / "log.jsonl"
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            program = self.bin / tool
            program.write_text(
                # A test makes a hundred calls: -I and -S start Python in a few milliseconds.
                f"#!{sys.executable} -IS\n"
                f"import sys; sys.path += {[str(Path(__file__).parent), *SITE]!r}\n"
                "from fake_tools import run\n"
                f"sys.exit(run({tool!r}, {str(self._state)!r}, {str(self._log)!r}))\n"
            )
            program.chmod(0o755)
        self.update(account="me@example.com", number="1234567890", gh="111\t222")

    def update(self, **changes: Any) -> None:
        """Change what the tools answer."""
        state = self.state
        state.update(changes)
        self._state.write_text(json.dumps(state))

    @property
    def state(self) -> State:
        return dict(json.loads(self._state.read_text())) if self._state.exists() else {}

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call: ``argv`` with the program's name, and ``stdin``.

        Without questions to kubectl's own configuration, which reach no cluster.
        """
        if not self._log.exists():
            return []
        calls = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [call for call in calls if call["argv"][:2] != ["kubectl", "config"]]

    @property
    def commands(self) -> list[list[str]]:
        return [call["argv"] for call in self.calls]

    def forget(self) -> None:
        """Start a new record."""
        self._log.unlink(missing_ok=True)


def run(tool: str, state_file: str, log_file: str) -> int:
    """Answer one call; the exit code is that of the tool."""
    argv = sys.argv[1:]
    stdin = "" if sys.stdin.isatty() else sys.stdin.read()
    with Path(log_file).open("a", encoding="utf-8") as log:
        log.write(json.dumps({"argv": [tool, *argv], "stdin": stdin}) + "\n")
    state: State = json.loads(Path(state_file).read_text())
    try:
        _fail_if_told(state, [tool, *argv])
        output = _ANSWERS[tool](state, argv, stdin)
    except RefusedError as refusal:
        print(f"ERROR: {refusal}", file=sys.stderr)
        return 1
    finally:
        Path(state_file).write_text(json.dumps(state))
    if output:
        print(output)
    return 0


def _fail_if_told(state: State, argv: list[str]) -> None:
    for failure in state.get("failures", []):
        if failure["command"] in " ".join(argv) and failure["times"] > 0:
            failure["times"] -= 1
            raise RefusedError(failure["message"])


def _split(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    words = [word for word in argv if not word.startswith("-")]
    flags = dict(word.lstrip("-").partition("=")[::2] for word in argv if word.startswith("-"))
    return words, flags


def _gcloud(state: State, argv: list[str], _stdin: str) -> str:
    assert os.environ["CLOUDSDK_CORE_DISABLE_PROMPTS"] == "1"
    words, flags = _split(argv)
    if words == ["config", "get-value", "account"]:
        return str(state["account"])
    if words[:2] == ["projects", "describe"]:
        return str(state["number"])
    if words[0] == "services":
        services = state.setdefault("services", [])
        if words[1] == "list":
            return "\n".join(services)
        services.extend(words[2:])
        return ""
    if words[:3] == ["container", "clusters", "get-credentials"]:
        return ""
    at = next(i for i, word in enumerate(words) if word in _VERBS)
    kind, verb, name = "/".join(words[:at]), words[at], (words[at + 1 :] or [""])[0]
    return _VERBS[verb](state, kind, name, flags)


def _list(state: State, kind: str, _name: str, flags: dict[str, str]) -> str:
    resources = state.get(kind, {}).values()
    shown = [r for r in resources if "show-deleted" in flags or not _is_deleted(r)]
    # As Google does, lists leave out what roles permit.
    return json.dumps([{k: v for k, v in r.items() if k != "includedPermissions"} for r in shown])


def _describe(state: State, kind: str, name: str, _flags: dict[str, str]) -> str:
    return json.dumps(state[kind][name])


def _create(state: State, kind: str, name: str, flags: dict[str, str]) -> str:
    resources = state.setdefault(kind, {})
    resource = {"name": f"projects/p/{kind}/{name}"}
    if kind == "iam/service-accounts":
        name = resource["email"] = f"{name}@{flags['project']}.iam.gserviceaccount.com"
    if kind == "container/clusters":
        resource["name"] = name
    if name in resources:
        raise RefusedError(f"ALREADY_EXISTS: {name}")
    resources[name] = resource | _attributes(flags)
    return ""


def _attributes(flags: dict[str, str]) -> dict[str, Any]:
    if "permissions" in flags:
        return {"includedPermissions": flags["permissions"].split(",")}
    if "attribute-mapping" not in flags:
        return {}
    pairs = (pair.partition("=")[::2] for pair in flags["attribute-mapping"].split(","))
    return {
        "attributeMapping": dict(pairs),
        "attributeCondition": flags["attribute-condition"],
        "oidc": {"issuerUri": flags["issuer-uri"]},
    }


def _update(state: State, kind: str, name: str, flags: dict[str, str]) -> str:
    state[kind][name] |= _attributes(flags)
    return ""


def _delete(state: State, kind: str, name: str, _flags: dict[str, str]) -> str:
    if name not in state.get(kind, {}):
        raise RefusedError(f"NOT_FOUND: {name}")
    if kind.startswith("iam/workload-identity-pools"):
        state[kind][name]["state"] = "DELETED"
    elif kind == "iam/roles":
        state[kind][name]["deleted"] = True
    else:
        del state[kind][name]
        state.get("policies", {}).pop(f"{kind}/{name}", None)
    return ""


def _undelete(state: State, kind: str, name: str, _flags: dict[str, str]) -> str:
    resource = state[kind][name]
    if not _is_deleted(resource):
        raise RefusedError(f"FAILED_PRECONDITION: {name} is not deleted")
    resource.pop("state", None)
    resource.pop("deleted", None)
    return ""


def _is_deleted(resource: dict[str, Any]) -> bool:
    return resource.get("state") == "DELETED" or bool(resource.get("deleted"))


def _policy(state: State, kind: str, name: str) -> list[list[str]]:
    if kind != "projects" and name not in state.get(kind, {}):
        raise RefusedError(f"NOT_FOUND: {name}")
    policy: list[list[str]] = state.setdefault("policies", {}).setdefault(f"{kind}/{name}", [])
    return policy


def _get_policy(state: State, kind: str, name: str, _flags: dict[str, str]) -> str:
    bindings = [{"role": r, "members": [m]} for r, m in _policy(state, kind, name)]
    return json.dumps({"bindings": bindings, "etag": "BwX"} if bindings else {"etag": "ACAB"})


def _grant(state: State, kind: str, name: str, flags: dict[str, str]) -> str:
    account = flags["member"].removeprefix("serviceAccount:")
    if account != flags["member"] and account not in state.get("iam/service-accounts", {}):
        raise RefusedError(f"INVALID_ARGUMENT: Service account {account} does not exist.")
    _policy(state, kind, name).append([flags["role"], flags["member"]])
    return ""


def _revoke(state: State, kind: str, name: str, flags: dict[str, str]) -> str:
    _policy(state, kind, name).remove([flags["role"], flags["member"]])
    return ""


_VERBS: dict[str, Callable[[State, str, str, dict[str, str]], str]] = {
    "list": _list,
    "describe": _describe,
    "create": _create,
    "create-oidc": _create,
    "update-oidc": _update,
    "update": _update,
    "delete": _delete,
    "undelete": _undelete,
    "get-iam-policy": _get_policy,
    "add-iam-policy-binding": _grant,
    "remove-iam-policy-binding": _revoke,
}


def _kubectl(state: State, argv: list[str], stdin: str) -> str:
    words, flags = _split(argv)
    objects = state.setdefault("objects", {})
    if words == ["config", "get-contexts"]:
        return "\n".join(state.get("contexts", ["kind-kind"]))
    if words[0] in ("get", "logs", "exec"):
        return _kubectl_look(state, words, flags)
    match words:
        case ["create", kind, name]:
            objects[f"{kind}/{name}"] = {}
        case ["create", "secret", "generic", name]:
            key = flags["from-file"].removesuffix("=/dev/stdin")
            objects[f"secret/{name}"] = {"data": {key: stdin}}
        case ["apply"]:
            if flags.get("filename") == "-":
                _apply(state, stdin)
        case ["delete", "namespace", _]:
            objects.clear()
        case ["delete", kind, name]:
            del objects[f"{kind}/{name}"]
        case _:
            raise RefusedError(f"unknown command: {argv}")
    return ""


def _kubectl_look(state: State, words: list[str], flags: dict[str, str]) -> str:
    match words:
        case ["get", "pods"]:
            return "\n".join(state.get("pods", {}).get(flags.get("selector"), []))
        case ["get", kind, name] if f"{kind}/{name}" in state["objects"]:
            found = state["objects"][f"{kind}/{name}"]
            return json.dumps(found) if "ojson" in flags else f"{kind}/{name}"
        case ["exec", pod, *command]:
            if pod in state.get("refusing", {}):
                raise RefusedError(state["refusing"][pod])
            return f"OK: ran {' '.join(command)}"
        case ["logs"]:
            return "(log lines)"
    return ""


def _apply(state: State, manifest: str) -> None:
    import yaml

    for document in filter(None, yaml.safe_load_all(manifest)):
        key = f"{document['kind'].lower()}/{document['metadata']['name']}"
        old = state["objects"].get(key, {})
        if document["kind"] == "RayService":
            generation = old.get("metadata", {}).get("generation", 0)
            generation += old.get("spec") != document["spec"]
            document["metadata"]["generation"] = generation
            document["status"] = old.get("status", {})
        state["objects"][key] = document


def _helm(state: State, argv: list[str], _stdin: str) -> str:
    words, flags = _split(argv)
    if words[0] == "upgrade" and "install" in flags:
        state["releases"] = [{"name": words[1], "chart": f"{words[2]}-{flags['version']}"}]
        return ""
    raise RefusedError(f"unknown command: {argv}")


def _gh(state: State, argv: list[str], _stdin: str) -> str:
    if argv[0] != "api" or not state["gh"]:
        raise RefusedError("gh: Not Found (HTTP 404)")
    return str(state["gh"])


_ANSWERS: dict[str, Callable[[State, list[str], str], str]] = {
    "gcloud": _gcloud,
    "kubectl": _kubectl,
    "helm": _helm,
    "gh": _gh,
}
