"""kubectl in the namespace of the service."""

import json
from typing import Any

from deploy.shell import Shell
from deploy.names import NAMESPACE

FIELD_MANAGER = "serve-app-rollout"


class Kubectl:
    """Reads and changes the service's namespace.

    Raises:
        deploy.shell.CommandError: from every method, if kubectl fails.
    """

    def __init__(self, shell: Shell, context: str | None = None) -> None:
        self._shell = shell
        self._kubectl = (
            "kubectl",
            *([f"--context={context}"] if context else []),
            f"--namespace={NAMESPACE}",
        )

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """A document, or None if there is none."""
        document = self.read("get", kind, name, "--ignore-not-found", "-ojson")
        return json.loads(document) if document else None

    def read(self, *arguments: str) -> str:
        """What a command prints."""
        return self._shell.read(*self._kubectl, *arguments)

    def apply(self, manifest: str) -> None:
        """Apply a manifest; fields that it no longer has are removed."""
        self._shell.change(
            *(*self._kubectl, "apply", "--server-side", "--force-conflicts"),
            *(f"--field-manager={FIELD_MANAGER}", "--filename=-"),
            stdin=manifest,
            note="the manifest",
        )

    def delete(self, kind: str, name: str) -> None:
        """Delete something and wait until it is gone."""
        self._shell.change(*self._kubectl, "delete", kind, name, "--timeout=5m")
