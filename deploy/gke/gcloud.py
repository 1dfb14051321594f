"""Resources as data: the commands of gcloud that find, create, change and delete each."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Command = tuple[str, ...]
Document = Mapping[str, Any]
Documents = Mapping[str, Document]

JSON = "--format=json"
GRANT_ATTEMPTS = 6
"""IAM answers "does not exist" for up to a minute after an account was created."""
IAM_FIX = (
    "Ask for roles/resourcemanager.projectIamAdmin, roles/iam.serviceAccountAdmin, "
    "roles/iam.roleAdmin and roles/iam.workloadIdentityPoolAdmin on the project."
)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """Something that the service needs.

    Attributes:
        what: what it is and, if that does not say it, what for.
        fix: what to do when a command of the set-up fails; ``delete_fix`` is for the teardown.
        find: command that lists what exists, also what Google keeps after a deletion; empty:
            ``create`` runs each time, and changes nothing where there is nothing to change.
        read: takes what ``find`` printed, returns what exists by name; by default anything counts.
        attempts: how often to try ``create`` and ``delete``.
        describe: command that shows it in full, where the list does not.
        is_current: whether what exists is as it should be; if not, ``update`` runs.
        delete: commands that delete it; none: it goes with what it is part of, or stays.
        part_of: what it is in or on: it can only be there if that is.
        holds_images: it stays in a teardown unless the images are to go, too.
    """

    what: str
    fix: str = IAM_FIX
    name: str = ""
    find: Command = ()
    read: Callable[[str], Documents] = lambda printed: {"": {}} if printed else {}
    create: Command
    attempts: int = 1
    undelete: Command = ()
    describe: Command = ()
    is_current: Callable[[Document], bool] = lambda _found: True
    update: Command = ()
    delete: tuple[Command, ...] = ()
    delete_fix: str = "Run it again: what is gone already is skipped."
    part_of: "Resource | None" = None
    holds_images: bool = False


@dataclass(frozen=True)
class Group:
    """One of gcloud's command groups, with the flags that say where.

    Attributes:
        name: the group, such as ``container clusters``.
        where: flags of every command.
        fix: what to do when a command of the set-up fails.
        key: field of a list that holds the name.
        keeps: Google keeps what is deleted for a while, and its name stays taken.
        suffix: of the verbs that create and update.
    """

    name: str
    where: Command = ()
    fix: str = IAM_FIX
    key: str = "name"
    keeps: bool = False
    suffix: str = ""

    def command(self, verb: str, name: str = "", *flags: str) -> Command:
        """A command of the group."""
        return ("gcloud", *self.name.split(), verb, *([name] if name else []), *self.where, *flags)

    def resource(self, what: str, name: str, *flags: str, **other: Any) -> Resource:
        """A resource of the group; ``flags`` say what is created, ``other`` are more fields."""
        fields = {
            "find": self.command("list", "", *(["--show-deleted"] if self.keeps else []), JSON),
            # Accounts are created by what is before the @.
            "create": self.command(f"create{self.suffix}", name.partition("@")[0], *flags),
            "undelete": self.command("undelete", name),
            "update": self.command(f"update{self.suffix}", name, *flags),
            "delete": (self.command("delete", name),),
        }
        return Resource(
            what=what, fix=self.fix, name=name, read=self._read_list, **(fields | other)
        )

    def grant(self, what: str, on: Resource | str, role: str, member: str) -> Resource:
        """One role of one member on one resource of the group."""
        resource, part_of = (on.name, on) if isinstance(on, Resource) else (on, None)
        binding = (resource, f"--role={role}", f"--member={member}", "--condition=None")
        return Resource(
            what=what,
            name=f"{role} {member}",
            find=self.command("get-iam-policy", resource, JSON),
            read=_read_policy,
            create=self.command("add-iam-policy-binding", *binding),
            attempts=GRANT_ATTEMPTS,
            delete=(self.command("remove-iam-policy-binding", *binding),),
            part_of=part_of,
        )

    def _read_list(self, printed: str) -> Documents:
        found = json.loads(printed or "[]")
        return {resource[self.key].rpartition("/")[2]: resource for resource in found}


def _read_policy(printed: str) -> Documents:
    return {
        f"{binding['role']} {member}": {}
        for binding in json.loads(printed or "{}").get("bindings", [])
        if "condition" not in binding
        for member in binding["members"]
    }
