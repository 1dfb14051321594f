"""The one way to read and change a Kubernetes cluster: kubectl."""

import json
import os
from typing import Any

from deploy.names import NAMESPACE
from deploy.shell import CommandError, Shell
from serve_app.errors import CheckFailedError, UserError

FIELD_MANAGER = "serve-app-rollout"
REACH_SECONDS = 20.0
IN_CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"

Document = dict[str, Any]
Documents = list[Document]


class Kubectl:
    """kubectl with one context and one namespace.

    Args:
        shell: runs the commands.
        context: kubectl's context; None for the current one.
        namespace: namespace of what is read and changed; None for cluster-wide commands.
        seconds: time limit of each read; None for none.

    Raises:
        deploy.shell.CommandError: from every method, if kubectl fails.
        deploy.shell.ToolMissingError: from every method, if kubectl is not installed.
    """

    def __init__(
        self,
        shell: Shell,
        context: str | None = None,
        namespace: str | None = NAMESPACE,
        seconds: float | None = None,
    ) -> None:
        self.shell = shell
        self.context = context
        self._seconds = seconds
        self._command = ("kubectl", *([f"--context={context}"] if context else []))
        self._namespaced = (*self._command, *([f"--namespace={namespace}"] if namespace else []))

    def read(self, *arguments: str) -> str:
        """What a command prints; it is not shown."""
        return self.shell.read(*self._namespaced, *arguments, seconds=self._seconds)

    def get(self, kind: str, name: str) -> Document | None:
        """A document, or None if there is none."""
        document = self.read("get", kind, name, "--ignore-not-found", "-ojson")
        return json.loads(document) if document else None

    def names(self, kind: str, *options: str) -> list[str]:
        """Names, as ``kind/name``, of the objects that kubectl's ``options`` select."""
        return self.read("get", kind, *options, "-oname").split()

    def change(self, *arguments: str, stdin: str | None = None, note: str = "") -> None:
        """Run and show a command that changes something; `Shell.change` explains the arguments."""
        self.shell.change(*self._namespaced, *arguments, stdin=stdin, note=note)

    def apply(self, manifest: str) -> None:
        """Apply a manifest; fields that it no longer has are removed."""
        self.change(
            *("apply", "--server-side", "--force-conflicts"),
            *(f"--field-manager={FIELD_MANAGER}", "--filename=-"),
            stdin=manifest,
            note="the manifest",
        )

    def check_context(self) -> None:
        """Check that kubectl knows the context, or that there is a cluster without one.

        Raises:
            UserError: it does not.
        """
        known = self.shell.read("kubectl", "config", "get-contexts", "-oname").split()
        if self.context is None:
            # A pod needs no context: kubectl asks the cluster around it.
            if not known and IN_CLUSTER_VARIABLE not in os.environ:
                raise UserError(
                    "kubectl has no context; make one, for instance with `gcloud container "
                    "clusters get-credentials`"
                )
        elif self.context not in known:
            raise UserError(
                f"kubectl has no context {self.context!r}; it has {', '.join(known) or 'none'}"
            )

    def check_reachable(self) -> None:
        """Check that the control plane answers.

        Raises:
            CheckFailedError: it does not.
        """
        try:
            self.shell.read(*self._command, "get", "--raw=/version", seconds=REACH_SECONDS)
        except CommandError as error:
            context = f"context {self.context}" if self.context else "kubectl's current context"
            raise CheckFailedError(
                f"the cluster of {context} does not answer: {error.last_line}"
            ) from error

    # Last, because annotations of a class that follow a method `list` would mean the method.
    def list(self, kind: str, selector: str) -> Documents:
        """Documents of the objects whose labels match ``selector``."""
        answer = self.read("get", kind, f"--selector={selector}", "-ojson")
        documents: Documents = json.loads(answer)["items"] if answer else []
        return documents
