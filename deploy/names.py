"""Names that the manifests, the cluster set-up and the rollout must agree on.

YAML cannot import them; tests fail where a manifest or a workflow says something else.
"""

from pathlib import Path

PACKAGED_MANIFESTS = Path(__file__).parents[1] / "kuberay"
"""The manifests that come with the package: beside this package in a clone and in the wheel."""

NAMESPACE = "serve-app"
RAY_SERVICE = "classifier"
SERVICE_ACCOUNTS = ("ray-head", "ray-worker")
"""Kubernetes service accounts of the Ray head and of the workers, which hold the replicas."""

AUTH_SECRET = "ray-auth"  # noqa: S105 - a name
AUTH_SECRET_KEY = "auth_token"  # noqa: S105 - KubeRay asks for this key

REPOSITORY = "serve-app"
IMAGE = "serve-app/serve-app"
"""Artifact Registry repository and image, after the registry's host and project."""

KUBERAY_VERSION = "1.7.0"
KUBERAY_COMMIT = "59d663aeec13760646da3db9c1cf8cfe883e30b7"
"""What the tag of that version named when it was tested: a tag can be moved."""
KUBERAY_NAMESPACE = "kuberay-system"

PUBLIC_SERVICE = "classifier-public"
"""Service that clients reach; the component `load-balancer` gives it a public address."""
