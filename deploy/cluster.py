"""What any cluster needs before the overlays: the prerequisites, KubeRay and Ray's token.

A local cluster needs nothing else: ``serve-app k8s cluster --context kind-kind``.
"""

import argparse
import base64
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.shell import CommandError, Shell
from deploy.names import (
    AUTH_SECRET,
    AUTH_SECRET_KEY,
    KUBERAY_COMMIT,
    KUBERAY_NAMESPACE,
    KUBERAY_VERSION,
    NAMESPACE,
)

PREREQUISITES = Path(__file__).parent / "prerequisites"
CRDS = f"https://github.com/ray-project/kuberay//ray-operator/config/crd?ref={KUBERAY_COMMIT}"
CHARTS = "https://ray-project.github.io/kuberay-helm/"
OPERATOR = "kuberay-operator"
OPERATOR_IMAGE = "kuberay/operator"
"""Path of the operator's image on quay.io, or behind a registry that mirrors it."""
TOKEN_BYTES = 32


def apply_prerequisites(shell: Shell, context: str) -> None:
    """Apply what an administrator applies once: the namespace and the priority of its pods."""
    with shell.step("Namespace and priority", "Ask for roles/container.admin on the project."):
        shell.change(
            *("kubectl", f"--context={context}", "apply", "--server-side"),
            f"--kustomize={PREREQUISITES}",
        )


def install_kuberay(shell: Shell, context: str, registry: str = "quay.io") -> None:
    """Install or upgrade KubeRay: first the CRDs, which Helm never upgrades, then the operator.

    Args:
        shell: runs the commands.
        context: kubectl's context.
        registry: host and path from which the operator's image is pulled.
    """
    with shell.step(
        f"KubeRay {KUBERAY_VERSION}",
        "Needs git and access to github.com, and roles/container.admin on the project.",
    ):
        shell.change(
            *("kubectl", f"--context={context}", "apply", "--server-side", "--force-conflicts"),
            f"--kustomize={CRDS}",
        )
        release = ("helm", f"--kube-context={context}", f"--namespace={KUBERAY_NAMESPACE}")
        installed = shell.read(*release, "list", f"--filter=^{OPERATOR}$", "--deployed", "-ojson")
        charts = [entry["chart"] for entry in json.loads(installed or "[]")]
        if charts != [f"{OPERATOR}-{KUBERAY_VERSION}"]:
            shell.change(
                *(*release, "upgrade", OPERATOR, OPERATOR, "--install", "--create-namespace"),
                *(f"--repo={CHARTS}", f"--version={KUBERAY_VERSION}", "--skip-crds"),
                *(f"--set=image.repository={registry}/{OPERATOR_IMAGE}", "--wait", "--timeout=5m"),
            )


def create_auth_secret(shell: Shell, context: str) -> None:
    """Create the token that Ray's dashboard asks for; an existing one stays as it is."""
    kubectl = ("kubectl", f"--context={context}", f"--namespace={NAMESPACE}")
    with shell.step("Token of Ray's dashboard", "Ask for roles/container.admin on the project."):
        if shell.read(*kubectl, "get", "secret", AUTH_SECRET, "--ignore-not-found", "-oname"):
            return
        token = base64.b64encode(secrets.token_urlsafe(TOKEN_BYTES).encode()).decode()
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": AUTH_SECRET, "namespace": NAMESPACE},
            "type": "Opaque",
            "data": {AUTH_SECRET_KEY: token},
        }
        # Through standard input: arguments are visible to everybody on the machine.
        shell.change(
            *(*kubectl, "create", "--filename=-"),
            stdin=json.dumps(secret),
            note=f"Secret {AUTH_SECRET}, {AUTH_SECRET_KEY}: {TOKEN_BYTES} random bytes",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="serve-app k8s cluster", description=__doc__)
    parser.add_argument("--context", required=True, help="kubectl's context, such as kind-kind")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    options = parser.parse_args(arguments)
    shell = Shell(dry_run=options.dry_run)
    try:
        apply_prerequisites(shell, options.context)
        install_kuberay(shell, options.context)
        create_auth_secret(shell, options.context)
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
