"""Set up Google Cloud for the service, or take it down again.

Needs gcloud with its gke-gcloud-auth-plugin, kubectl, helm and git, and a project that you own.
Exit codes: 0 done, 1 a command failed (it and its fix are printed), 2 nothing was tried.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from deploy.shell import CommandError, Shell
from deploy.gke.setup import github_variables, set_up
from deploy.gke.target import GitHubRepository, Target
from deploy.gke.teardown import tear_down

TOOLS = {
    "gcloud": "https://cloud.google.com/sdk/docs/install",
    "gke-gcloud-auth-plugin": "gcloud components install gke-gcloud-auth-plugin",
    "kubectl": "gcloud components install kubectl",
    "helm": "https://helm.sh/docs/intro/install",
    # kubectl fetches KubeRay's CRDs with it.
    "git": "https://git-scm.com/downloads",
}


class PreflightError(Exception):
    """Something is missing before the first step: names it and the fix, in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    shell = Shell(dry_run=options.dry_run)
    try:
        target = _target(options)
        if options.command == "teardown":
            tear_down(shell, target, images=options.images)
        else:
            set_up(shell, target)
            print("# Done. Tell GitHub, once:")
            for name, value in github_variables(target).items():
                print(f"gh variable set {name} --repo={target.github.name} --body={value}")
    except PreflightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--project", required=True, help="id of the Google Cloud project")
    common.add_argument("--region", required=True, help="such as europe-west1")
    common.add_argument(
        "--repository", required=True, metavar="OWNER/NAME", help="the repository on GitHub"
    )
    common.add_argument(
        "--repository-id", help="its number; by default gh is asked, the GitHub command line"
    )
    common.add_argument("--owner-id", help="the number of its owner; by default gh is asked")
    common.add_argument("--cluster", default=Target.cluster, help="default: %(default)s")
    common.add_argument(
        "--dry-run",
        action="store_true",
        help="print every command and run none: '?' looks, '$' changes something",
    )
    parser = argparse.ArgumentParser(
        prog="serve-app gke",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    setup = commands.add_parser(
        "setup", parents=[common], help="create what is missing; a second run changes nothing"
    )
    setup.add_argument("--machine-type", default=Target.machine_type, help="default: %(default)s")
    setup.add_argument(
        "--max-nodes",
        type=int,
        default=Target.max_nodes,
        help="most nodes; an upgrade runs two Ray clusters at once (default: %(default)s)",
    )
    teardown = commands.add_parser("teardown", parents=[common], help="delete it again")
    teardown.add_argument("--yes", action="store_true", help="really")
    teardown.add_argument("--images", action="store_true", help="delete every image, too")
    return parser


def _target(options: argparse.Namespace) -> Target:
    if options.command == "teardown" and not (options.yes or options.dry_run):
        raise PreflightError(
            f"teardown deletes cluster {options.cluster} in project {options.project} and all "
            "that runs there; look at it with --dry-run, then add --yes"
        )
    sizes = {
        name: getattr(options, name)
        for name in ("machine_type", "max_nodes")
        if hasattr(options, name)
    }
    repository_id, owner_id = options.repository_id, options.owner_id
    if options.dry_run:
        number = "PROJECT_NUMBER"
        repository_id, owner_id = repository_id or "REPOSITORY_ID", owner_id or "OWNER_ID"
    else:
        number = _project_number(options.project)
        if not (repository_id and owner_id):
            repository_id, owner_id = _github_numbers(options.repository)
    return Target(
        project=options.project,
        number=number,
        region=options.region,
        github=GitHubRepository(options.repository, repository_id, owner_id),
        cluster=options.cluster,
        **sizes,
    )


def _project_number(project: str) -> str:
    for tool, fix in TOOLS.items():
        if shutil.which(tool) is None:
            raise PreflightError(f"{tool} is not installed; see {fix}")
    account = _ask("gcloud", "config", "get-value", "account")
    if not account or account == "(unset)":
        raise PreflightError("gcloud has no account; run: gcloud auth login")
    number = _ask("gcloud", "projects", "describe", project, "--format=value(projectNumber)")
    if not number.isdigit():
        raise PreflightError(
            f"project {project!r} does not exist or {account} may not see it; "
            "choose one of: gcloud projects list"
        )
    return number


def _github_numbers(repository: str) -> tuple[str, str]:
    numbers = _ask("gh", "api", f"repos/{repository}", "--jq=[.id, .owner.id] | @tsv").split()
    match numbers:
        case [repository_id, owner_id] if repository_id.isdigit() and owner_id.isdigit():
            return repository_id, owner_id
    raise PreflightError(
        f"the numbers of {repository} are unknown: install gh and log in, or look up .id and "
        f".owner.id at https://api.github.com/repos/{repository} and pass --repository-id and "
        "--owner-id"
    )


def _ask(*command: str) -> str:
    environment = {**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment
        )
    except FileNotFoundError:
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
