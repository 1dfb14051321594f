"""Each command line that the set-up prints, checked by the tool itself without any server.

gcloud has a command for it that parses command lines with the parsers of the commands they name,
and runs nothing: ``gcloud meta lint-gcloud-commands``. kubectl and helm parse every flag before
they look at ``--help``.
"""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serve_app.cli.main import main

PROJECT = Path(__file__).parents[2]
COMMON = ["--project=my-project", "--region=europe-west1", "--repository=octo/serve-app"]
DRY_RUNS = (
    ["gke", "setup", *COMMON, "--dry-run"],
    ["gke", "teardown", *COMMON, "--images", "--dry-run"],
)
ONLY_ON_DRIFT = (
    (
        "gcloud iam workload-identity-pools undelete serve-app-github --location=global "
        "--project=my-project"
    ),
    (
        "gcloud iam workload-identity-pools providers undelete serve-app-github --location=global "
        "--project=my-project --workload-identity-pool=serve-app-github"
    ),
    (
        "gcloud iam workload-identity-pools providers update-oidc serve-app-github "
        "--location=global --project=my-project "
        "--workload-identity-pool=serve-app-github --attribute-condition=true"
    ),
    "gcloud iam roles undelete serveAppDeployer --project=my-project",
    "gcloud iam roles describe serveAppDeployer --project=my-project --format=json",
    "gcloud iam roles update serveAppDeployer --project=my-project --permissions=a.b.c,a.b.d",
    "gcloud compute forwarding-rules list --project=my-project",
)


def printed_commands(tool: str) -> list[str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for arguments in DRY_RUNS:
            main(arguments)
    lines = [line[2:].partition("  # stdin")[0] for line in printed.getvalue().splitlines()]
    return [line for line in lines if line.startswith(f"{tool} ")]


def documented_commands() -> list[str]:
    """Command lines in the documents and workflows, each on one line."""
    files = [
        PROJECT / "README.md",
        *sorted((PROJECT / "docs").rglob("*.md")),
        *sorted((PROJECT / "kuberay").rglob("*.md")),
        *sorted((PROJECT / ".github").rglob("*.yaml")),
    ]
    found = []
    for file in files:
        text = re.sub(r"\\\n\s*", "", file.read_text(encoding="utf-8"))
        found += re.findall(r"^ *(?:- )?(?:run: )?(gcloud .+)$", text, re.MULTILINE)
    return found


def require(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


def gcloud_verdicts(commands: list[str], directory: Path) -> dict[str, Any]:
    """Error messages of gcloud's own parsers by command; None for a valid one."""
    file = directory / "commands.json"
    file.write_text(json.dumps([{"command_string": command} for command in commands]))
    process = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"],
        capture_output=True,
        text=True,
        check=True,
        # No account, no usage report, nothing of the user's configuration.
        env={**os.environ, "CLOUDSDK_CONFIG": str(directory / "configuration")},
    )
    results = json.loads(process.stdout)
    return {
        result["command_string"]: None if result["success"] else result["error_message"] or "?"
        for result in results
    }


def test_gcloud_accepts_every_command(tmp_path: Path) -> None:
    """No flag, choice or positional argument is unknown to the installed gcloud."""
    require("gcloud")
    documented = documented_commands()
    commands = [*printed_commands("gcloud"), *ONLY_ON_DRIFT, *documented]

    verdicts = gcloud_verdicts(list(dict.fromkeys(commands)), tmp_path)

    assert len(documented) >= 7
    assert len(verdicts) > 35 + len(documented)
    assert {command: error for command, error in verdicts.items() if error} == {}


def test_gcloud_check_finds_mistakes(tmp_path: Path) -> None:
    """The check above can fail: an unknown flag, choice, command and a missing flag are found."""
    require("gcloud")
    mistakes = [
        "gcloud container clusters create a --region=r --enable-dataplane-v3",
        "gcloud container clusters create a --region=r --gateway-api=maybe",
        "gcloud artifacts repos create a --location=r",
        "gcloud artifacts repositories create a --location=r",
    ]

    verdicts = gcloud_verdicts(mistakes, tmp_path)

    assert [command for command, error in verdicts.items() if error] == mistakes


@pytest.mark.parametrize("tool", ["kubectl", "helm"])
def test_other_tools_accept_every_command(tool: str, tmp_path: Path) -> None:
    """No flag is unknown to the installed kubectl and helm."""
    require(tool)
    commands = [shlex.split(command) for command in printed_commands(tool)]
    commands.append([*commands[0], "--no-such-flag"])

    codes = [
        subprocess.run(
            [*command, "--help"],
            capture_output=True,
            check=False,
            env={**os.environ, "HOME": str(tmp_path)},
        ).returncode
        for command in commands
    ]

    assert codes[:-1] == [0] * (len(commands) - 1)
    assert codes[-1] != 0
