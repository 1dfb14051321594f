"""Set up Google Cloud for the service, or take it down again.

A run that broke off is continued by running it again; a run that finds everything changes nothing.
A command that fails raises a CommandError, and the steps after it do not run.
"""

import json
from collections.abc import Iterable

from deploy import cluster
from deploy.gke.gcloud import Command, Document, Resource
from deploy.gke.resources import QUAY, Resources
from deploy.gke.target import GkeTarget
from deploy.shell import Shell


def set_up(shell: Shell, target: GkeTarget) -> None:
    """Create what is missing, from the APIs to the rights of the deploying job."""
    applier, resources = _Applier(shell), Resources(target)
    applier.set_up(resources.infrastructure())
    cluster.set_up(shell, target.context, registry=f"{target.registry}/{QUAY}")
    # Pods can be granted roles only once the cluster has made their identity pool.
    applier.set_up(resources.identities())


def tear_down(shell: Shell, target: GkeTarget, *, images: bool) -> None:
    """Delete all but the APIs, in reverse order; images only if they are asked for."""
    applier, resources = _Applier(shell), Resources(target)
    for resource in reversed([*resources.infrastructure(), *resources.identities()]):
        if resource.delete and (images or not resource.holds_images):
            applier.delete(resource)


class _Applier:
    """Reads each list once: what one resource needs to know, the others do not change."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._lists: dict[Command, str] = {}

    def set_up(self, resources: Iterable[Resource]) -> None:
        for resource in resources:
            with self._shell.step(resource.what, resource.fix):
                found = self._find(resource)
                if found is None:
                    self._shell.change(*resource.create, attempts=resource.attempts)
                    continue
                if _is_deleted(found):
                    self._shell.change(*resource.undelete)
                if resource.describe:
                    found = json.loads(self._shell.read(*resource.describe))
                if not resource.is_current(found):
                    self._shell.change(*resource.update)

    def delete(self, resource: Resource) -> None:
        with self._shell.step(resource.what, resource.delete_fix):
            # A dry run knows nothing: everything counts as there.
            if self._is_there(resource) or self._shell.dry_run:
                for command in resource.delete:
                    self._shell.change(*command, attempts=resource.attempts)

    def _is_there(self, resource: Resource) -> bool:
        if resource.part_of and not self._is_there(resource.part_of):
            return False
        found = self._find(resource)
        return not resource.find or (found is not None and not _is_deleted(found))

    def _find(self, resource: Resource) -> Document | None:
        if resource.find and resource.find not in self._lists:
            self._lists[resource.find] = self._shell.read(*resource.find)
        return resource.read(self._lists.get(resource.find, "")).get(resource.name)


def _is_deleted(found: Document) -> bool:
    """Whether Google keeps it after a deletion."""
    return found.get("state") == "DELETED" or bool(found.get("deleted"))
