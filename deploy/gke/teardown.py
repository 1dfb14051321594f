"""Delete what the set-up created; images stay unless they are asked for."""

import shlex

from deploy.shell import Shell
from deploy.gke.listing import listed
from deploy.gke.grants import MIRRORS, delivery_grants, node_grants, trace_grants
from deploy.gke.target import POOL, PROJECT_ROLE_ID, Target
from deploy.names import NAMESPACE, PUBLIC_SERVICE, REPOSITORY

_FIX = "Run it again: what is gone already is skipped."


def tear_down(shell: Shell, target: Target, *, images: bool) -> None:
    """Delete what is there, what depends on something before what it depends on.

    Args:
        shell: runs the commands; in a dry run everything counts as there.
        target: where the service is.
        images: delete the registry too, with every image in it.

    Raises:
        deploy.shell.CommandError: a command failed; the steps after it did not run.
    """
    _delete_cluster(shell, target)
    where = (f"--location={target.region}", f"--project={target.project}")
    found = listed(shell, "gcloud", "artifacts", "repositories", "list", *where)
    repositories = {name for name in (REPOSITORY, *MIRRORS) if shell.dry_run or name in found}
    with shell.step("Grants", _FIX):
        for grant in (*trace_grants(target), *node_grants(target), *delivery_grants(target)):
            # Grants on anything else go with what they are on.
            if grant.group == ("projects",) or grant.resource[0] in repositories:
                grant.remove(shell)
    _delete_identities(shell, target)
    with shell.step("Artifact Registry", _FIX):
        for name in sorted(repositories if images else repositories & MIRRORS.keys()):
            shell.change("gcloud", "artifacts", "repositories", "delete", name, *where)


def _delete_cluster(shell: Shell, target: Target) -> None:
    clusters = ("gcloud", "container", "clusters")
    where = (f"--region={target.region}", f"--project={target.project}")
    with shell.step("Cluster", _FIX):
        if not _is_there(shell, target.cluster, *clusters, "list", *where):
            return
    delete = shlex.join((*clusters, "delete", target.cluster, *where))
    fix = (
        f"Run it again. If the control plane does not answer: {delete}; then delete the load "
        f"balancer of {PUBLIC_SERVICE}, which nobody else will (gcloud compute forwarding-rules "
        f"list --project={target.project}), and run it again."
    )
    with shell.step("What is inside the cluster", fix):
        shell.change(*clusters, "get-credentials", target.cluster, *where, "--dns-endpoint")
        # First what is inside: load balancers would outlive the cluster that made them.
        shell.change(
            *("kubectl", f"--context={target.context}", "delete", "namespace", NAMESPACE),
            *("--ignore-not-found", "--timeout=10m"),
        )
    with shell.step("The cluster itself", _FIX):
        shell.change(*clusters, "delete", target.cluster, *where)


def _delete_identities(shell: Shell, target: Target) -> None:
    project = f"--project={target.project}"
    with shell.step("Identities", _FIX):
        iam = ("gcloud", "iam")
        location = "--location=global"
        if _is_there(shell, POOL, *iam, "workload-identity-pools", "list", location, project):
            shell.change(*iam, "workload-identity-pools", "delete", POOL, location, project)
        if _is_there(shell, PROJECT_ROLE_ID, *iam, "roles", "list", project):
            shell.change(*iam, "roles", "delete", PROJECT_ROLE_ID, project)
        for email in (target.deploy_account, target.node_account):
            if _is_there(shell, email, *iam, "service-accounts", "list", project, key="email"):
                shell.change(*iam, "service-accounts", "delete", email, project)


def _is_there(shell: Shell, name: str, *command: str, key: str = "name") -> bool:
    return name in listed(shell, *command, key=key) or shell.dry_run
