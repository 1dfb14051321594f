"""What KubeRay's operator labels pods with, and selects pods by: recorded, so that tests know it.

Read in the operator's source at the tag v1.7.0, below ``ray-operator/controllers/ray``:
``labelPod``, ``BuildPod`` and ``DefaultWorkerPodTemplate`` in ``common/pod.go``,
``HeadServiceLabels`` and ``BuildServeService`` in ``common/service.go``, the keys in
``utils/constant.go``. Its own pod: ``helm-chart/kuberay-operator/templates/deployment.yaml``.
"""

from deploy.names import RAY_SERVICE

RECORDED_VERSION = "1.7.0"

Labels = dict[str, str]

CLUSTER = f"{RAY_SERVICE}-x7x7x"
"""Name of a Ray cluster; KubeRay makes one up for each."""
_COMMON = {
    "app.kubernetes.io/created-by": "kuberay-operator",
    "app.kubernetes.io/name": "kuberay",
    "ray.io/cluster": CLUSTER,
    "ray.io/is-ray-node": "yes",
}
_HEAD = {
    **_COMMON,
    "ray.io/group": "headgroup",
    "ray.io/identifier": f"{CLUSTER}-head",
    "ray.io/node-type": "head",
    # Changed to true while its proxy answers.
    "ray.io/serve": "false",
}
RAY_PODS: dict[str, Labels] = {
    "head": _HEAD,
    "worker": {
        **_COMMON,
        "ray.io/group": "cpu",
        "ray.io/identifier": f"{CLUSTER}-worker",
        "ray.io/node-type": "worker",
        "ray.io/serve": "true",
        "ray.io/worker-group-replica-index": "0",
    },
}
"""Labels of each kind of pod. Labels of a pod template override most of them."""

OPERATOR_POD = {
    "app.kubernetes.io/component": "kuberay-operator",
    "app.kubernetes.io/instance": "kuberay-operator",
    "app.kubernetes.io/name": "kuberay-operator",
}

_HEAD_SELECTOR = {
    key: _HEAD[key]
    for key in (
        "app.kubernetes.io/created-by",
        "app.kubernetes.io/name",
        "ray.io/cluster",
        "ray.io/identifier",
        "ray.io/node-type",
    )
}
SERVICES: dict[str, tuple[Labels, set[str]]] = {
    # The dashboard of the active cluster.
    f"{RAY_SERVICE}-head-svc": (_HEAD_SELECTOR, {"head"}),
    # Where the workers of each cluster find their head.
    f"{CLUSTER}-head-svc": (_HEAD_SELECTOR, {"head"}),
    f"{RAY_SERVICE}-serve-svc": ({"ray.io/cluster": CLUSTER, "ray.io/serve": "true"}, {"worker"}),
}
"""Selector of each Service that the operator makes, and the pods that it is meant for."""
