"""What any cluster needs before the overlays: the prerequisites, KubeRay and Ray's token."""

import secrets

from deploy import names
from deploy.kubectl import Kubectl
from deploy.shell import Shell, require_tools

PREREQUISITES = names.PACKAGED_MANIFESTS / "prerequisites"
CRDS = f"https://github.com/ray-project/kuberay//ray-operator/config/crd?ref={names.KUBERAY_COMMIT}"
CHARTS = "https://ray-project.github.io/kuberay-helm/"
OPERATOR = "kuberay-operator"
OPERATOR_IMAGE = "kuberay/operator"
"""Path of the operator's image on quay.io, or behind a registry that mirrors it."""
OPERATOR_PRIORITY = "serve-app-operator"
"""Priority class of the prerequisites, above that of the pods that the operator looks after."""
OPERATOR_VALUES = (
    f"priorityClassName={OPERATOR_PRIORITY}",
    # Alpha in KubeRay 1.7. The other gates keep their defaults.
    "featureGates[0].name=GCSFaultToleranceEmbeddedStorage",
    "featureGates[0].enabled=true",
)
TOKEN_BYTES = 32
TOOLS = ("kubectl", "helm", "git")
"""kubectl fetches KubeRay's CRDs with git."""
_FIX = "You must be administrator of the cluster; on GKE ask for roles/container.admin."


def prepare_cluster(shell: Shell, context: str) -> None:
    """Check that a cluster can be reached and what is needed is installed; then set it up.

    Raises:
        UserError: a tool is missing, or kubectl does not know the context; nothing was changed.
        CheckFailedError: the cluster does not answer, or a command failed.
    """
    kubectl = Kubectl(shell, context)
    if not shell.dry_run:
        require_tools(*TOOLS)
        kubectl.check_context()
        kubectl.check_reachable()
    set_up(shell, context)


def set_up(shell: Shell, context: str, registry: str = "quay.io") -> None:
    """Install what is missing; what is there already stays as it is.

    The image of KubeRay's operator is pulled from ``registry``, a host and a path.

    Raises:
        deploy.shell.CommandError: a command failed; the steps after it did not run.
    """
    everywhere = Kubectl(shell, context, namespace=None)
    with shell.step("Namespace and priorities of the pods", _FIX):
        everywhere.change("apply", "--server-side", f"--kustomize={PREREQUISITES}")
    _install_kuberay(shell, everywhere, registry)
    _create_token(Kubectl(shell, context))


def _install_kuberay(shell: Shell, kubectl: Kubectl, registry: str) -> None:
    with shell.step(
        f"KubeRay {names.KUBERAY_VERSION}", f"Needs git and access to github.com. {_FIX}"
    ):
        # Helm never upgrades CRDs.
        kubectl.change("apply", "--server-side", "--force-conflicts", f"--kustomize={CRDS}")
        helm = (
            "helm",
            f"--kube-context={kubectl.context}",
            f"--namespace={names.KUBERAY_NAMESPACE}",
        )
        # Where nothing differs, it restarts nothing.
        values = (f"image.repository={registry}/{OPERATOR_IMAGE}", *OPERATOR_VALUES)
        shell.change(
            *(*helm, "upgrade", OPERATOR, OPERATOR, "--install", "--create-namespace"),
            *(f"--repo={CHARTS}", f"--version={names.KUBERAY_VERSION}", "--skip-crds"),
            *(*(f"--set={value}" for value in values), "--wait", "--timeout=5m"),
        )


def _create_token(kubectl: Kubectl) -> None:
    with kubectl.shell.step("Token of Ray's dashboard", _FIX):
        if kubectl.names("secret", names.AUTH_SECRET, "--ignore-not-found"):
            return
        # Through standard input: every user of the machine can see arguments.
        kubectl.change(
            *("create", "secret", "generic", names.AUTH_SECRET),
            f"--from-file={names.AUTH_SECRET_KEY}=/dev/stdin",
            stdin=secrets.token_urlsafe(TOKEN_BYTES),
            note=f"{TOKEN_BYTES} random bytes",
        )
