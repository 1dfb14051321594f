"""The cluster under test: as its administrator, and as the account that deploys."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from deploy.kubectl import Documents, Kubectl
from deploy.names import NAMESPACE, PUBLIC_SERVICE, RAY_SERVICE
from deploy.render import render
from deploy.rollout import look
from deploy.scaffold import scaffold
from deploy.shell import CommandError, Shell
from deploy.status import RolloutState, active_cluster_name, is_ready
from serve_app.errors import CheckFailedError
from serve_app.serve_config import CONFIG_FILE, ServeConfig

DEPLOYER = "e2e-deployer"
"""User that has the deploying job's role and nothing else, and the context that acts as it."""
OUTSIDE = "e2e-outside"
"""NodePort Service for clients beside the cluster."""
LOCAL_IMAGE = "localhost/serve-app/serve-app"
"""Name of the image in the overlay `local`."""
POLL_SECONDS = 1.0
KILL = """
import os, psutil, sys
found = [
    process
    for process in psutil.process_iter(["cmdline"])
    # A program, an actor of Ray, or the command that a Python script was called with.
    if any(
        word.rpartition("/")[2] == sys.argv[1] or word.startswith(sys.argv[1] + ":")
        for word in (process.info["cmdline"] or [])[:3]
    )
    and process.pid != os.getpid()
]
for process in found:
    process.kill()
sys.exit(0 if found else f"no process {sys.argv[1]}")
"""
"""Python for the inside of a pod, whose image has no pkill."""


@contextmanager
def two_accounts(context: str) -> Iterator[None]:
    """Let kubectl know ``context`` and, beside it, a context that acts as `DEPLOYER`.

    They are in a kubeconfig that only this process and its children read.

    Raises:
        deploy.shell.CommandError: kubectl cannot show the context.
    """
    view = ("config", "view", "--raw", "--minify", "--flatten", f"--context={context}", "-ojson")
    config = json.loads(Shell().read("kubectl", *view))
    (user,), (cluster,) = config["users"], config["clusters"]
    config["users"].append({"name": DEPLOYER, "user": {**user["user"], "as": DEPLOYER}})
    config["contexts"].append(
        {"name": DEPLOYER, "context": {"cluster": cluster["name"], "user": DEPLOYER}}
    )
    config["current-context"] = context
    with tempfile.TemporaryDirectory() as directory:  # which only its owner reads
        file = Path(directory, "config")
        file.write_text(json.dumps(config), encoding="utf-8")
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(file)
        try:
            yield
        finally:
            os.environ.pop("KUBECONFIG")
            if before is not None:
                os.environ["KUBECONFIG"] = before


class Addresses(NamedTuple):
    """Where clients reach the service."""

    url: str
    grpc: str
    """Host and port."""


@dataclass(frozen=True)
class Cluster:
    """What the chapters and the faults need of the cluster.

    Attributes:
        context: kubectl's context, of an administrator.
        directory: where manifests are made.
    """

    context: str
    directory: Path

    @property
    def kubectl(self) -> Kubectl:
        """The administrator's, in the namespace of the service."""
        return Kubectl(Shell(), self.context)

    @property
    def everywhere(self) -> Kubectl:
        """The administrator's, in no namespace."""
        return Kubectl(Shell(), self.context, namespace=None)

    @property
    def deployer(self) -> Kubectl:
        """The deploying account's."""
        return Kubectl(Shell(), DEPLOYER)

    def manifest(self, image: str, config: ServeConfig, components: Sequence[str] = ()) -> str:
        """The overlay `local` with another image and Serve config, and further components.

        Raises:
            deploy.shell.CommandError: kubectl cannot render it.
        """
        name, _, digest = image.partition("@")
        tagged, _, tag = name.rpartition(":")
        named = (
            {"newName": name, "digest": digest} if digest else {"newName": tagged, "newTag": tag}
        )
        return self.render(
            "local", components, config=config, images=[{"name": LOCAL_IMAGE, **named}]
        )

    def render(
        self,
        overlay: str,
        components: Sequence[str] = (),
        *,
        config: ServeConfig | None = None,
        images: Sequence[Mapping[str, str]] = (),
    ) -> str:
        """What `serve-app init` and `serve-app k8s render` make, with more on top.

        Args:
            overlay: overlay to start from.
            components: further components.
            config: Serve config, if not the packaged one.
            images: further replacements of images, as kustomize takes them.

        Raises:
            deploy.shell.CommandError: kubectl cannot render it.
        """
        shutil.rmtree(self.directory, ignore_errors=True)
        scaffold(self.directory)
        if config is not None:
            text = yaml.safe_dump(dict(config.document), sort_keys=False)
            (self.directory / CONFIG_FILE).write_text(text, encoding="utf-8")
        render(self.directory, None, "e2e")
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": NAMESPACE,
            "resources": [f"../{overlay}"],
            "components": [f"../../components/{each}" for each in components],
            "images": list(images),
        }
        directory = self.directory / "kuberay" / "overlays" / "e2e"
        directory.mkdir()
        (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return Shell().read("kubectl", "kustomize", str(directory))

    def active(self) -> str:
        """Name of the RayCluster that takes the traffic; empty if there is none."""
        service = self.kubectl.get("rayservice", RAY_SERVICE)
        return active_cluster_name(service) if service else ""

    def pods(self, node_type: str) -> Documents:
        """The active Ray cluster's ready pods of a type, ``head`` or ``worker``."""
        labels = f"ray.io/cluster={self.active()},ray.io/node-type={node_type}"
        return [pod for pod in self.kubectl.list("pods", labels) if is_ready(pod)]

    def pod(self, node_type: str, *, number: int = 0) -> str:
        """Name of one of them, counted from 0.

        Raises:
            CheckFailedError: there are fewer.
        """
        pods = self.pods(node_type)
        if number >= len(pods):
            raise CheckFailedError(f"{len(pods)} {node_type} pods are ready, not {number + 1}")
        return str(pods[number]["metadata"]["name"])

    def kill(
        self, node_type: str, process: str, *, container: str | None = None, number: int = 0
    ) -> None:
        """Send SIGKILL to the processes of a name in one pod.

        Args:
            node_type: ``head`` or ``worker``.
            process: name of a program, an actor of Ray, or a command of a Python script.
            container: where it runs, if not in the Ray container.
            number: which of the pods, counted from 0.

        Raises:
            CheckFailedError: there is no such pod or process.
        """
        pod = self.pod(node_type, number=number)
        words = ("exec", pod, f"--container={container or f'ray-{node_type}'}", "--")
        try:
            self.kubectl.read(*words, "python", "-c", KILL, process)
        except CommandError as error:
            # The container may end with the process, and this command with the container.
            if "no process" in str(error):
                raise

    def is_whole(self, workers: int) -> bool:
        """Whether what was applied serves on at least that many workers, and nothing comes or goes.

        False also while the API server does not answer.
        """
        try:
            verdict = look(self.kubectl)
            labels = f"ray.io/cluster={self.active()}"
            pods = self.kubectl.list("pods", labels)
        except CommandError:
            return False
        ready = [pod for pod in pods if is_ready(pod)]
        serving = [p for p in ready if p["metadata"]["labels"]["ray.io/node-type"] == "worker"]
        return (
            verdict.state is RolloutState.READY
            and len(ready) == len(pods)
            and len(serving) >= workers
            and len(ready) > len(serving)
        )

    def wait_until_whole(self, workers: int, seconds: float) -> float:
        """Wait until `is_whole`; returns how long it took, seconds.

        Raises:
            CheckFailedError: it took longer than ``seconds``.
        """
        began = time.monotonic()
        while not self.is_whole(workers):
            if time.monotonic() - began > seconds:
                raise CheckFailedError(f"not whole after {seconds:.0f} s")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def expose(self) -> Addresses:
        """Make a NodePort Service of the public one; returns its addresses.

        Raises:
            CheckFailedError: the public Service, or an address of a node, is missing.
        """
        public = self.kubectl.get("service", PUBLIC_SERVICE)
        if public is None:
            raise CheckFailedError(f"there is no Service {PUBLIC_SERVICE}")
        spec = {
            "type": "NodePort",
            "selector": public["spec"]["selector"],
            "ports": [
                {key: each[key] for key in ("name", "port", "targetPort")}
                for each in public["spec"]["ports"]
            ],
        }
        document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": OUTSIDE}}
        self.kubectl.apply(json.dumps({**document, "spec": spec}))
        exposed = self.kubectl.get("service", OUTSIDE) or {}
        addresses = [
            address["address"]
            for node in self.everywhere.list("nodes", "")
            for address in node["status"]["addresses"]
            if address["type"] == "InternalIP"
        ]
        if not addresses:
            raise CheckFailedError("no node has an address; name the service's with --url")
        http, grpc = (f"{addresses[0]}:{each['nodePort']}" for each in exposed["spec"]["ports"])
        return Addresses(f"http://{http}", grpc)
