"""What exists: listed, because a list that lacks something is not an error."""

import json
from typing import Any

from deploy.shell import Shell


def listed(shell: Shell, *command: str, key: str = "name") -> dict[str, dict[str, Any]]:
    """Run one of gcloud's list commands.

    Args:
        shell: runs the command; a dry run finds nothing.
        command: the command, without its format.
        key: the field that holds the name.

    Returns:
        Resources by the last segment of their name.
    """
    resources = json.loads(shell.read(*command, "--format=json") or "[]")
    return {resource[key].rpartition("/")[2]: resource for resource in resources}
