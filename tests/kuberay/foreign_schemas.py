"""Strict schemas of kinds that neither Kubernetes nor KubeRay has, for the fields used here.

Written by hand: Google publishes none for its policies, and the others are as large as the project.
Every other field is refused: look it up before you add one.

https://gateway-api.sigs.k8s.io/reference/spec/
https://cloud.google.com/kubernetes-engine/docs/how-to/configure-gateway-resources
https://github.com/GoogleCloudPlatform/prometheus-engine/blob/main/doc/api.md
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
PATH: Schema = {"type": "string", "pattern": "^/"}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}


def record(**fields: Schema) -> Schema:
    """An object that has exactly these fields."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def several(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def seconds(most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most}


def kind(api_version: str, name: str, spec: Schema) -> Schema:
    metadata = record(name=TEXT, namespace=TEXT)
    metadata["properties"] = metadata["properties"] | {"labels": LABELS, "annotations": LABELS}
    return record(
        apiVersion={"const": api_version}, kind={"const": name}, metadata=metadata, spec=spec
    )


SERVICE: Schema = record(group={"const": ""}, kind={"const": "Service"}, name=TEXT)

BACKENDS: Schema = several(record(name=TEXT, port=PORT))
RULE_WITH_PATHS: Schema = record(
    matches=several(record(path=record(type={"enum": ["Exact", "PathPrefix"]}, value=PATH))),
    backendRefs=BACKENDS,
)

FOREIGN_SCHEMAS = {
    "Gateway": kind(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        record(
            gatewayClassName={
                "enum": ["gke-l7-global-external-managed", "gke-l7-regional-external-managed"]
            },
            listeners=several(
                record(name=TEXT, protocol={"enum": ["HTTP", "HTTPS", "TLS", "TCP"]}, port=PORT)
            ),
        ),
    ),
    "HTTPRoute": kind(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        record(
            parentRefs=several(record(name=TEXT)),
            rules=several({"oneOf": [record(backendRefs=BACKENDS), RULE_WITH_PATHS]}),
        ),
    ),
    "HealthCheckPolicy": kind(
        "networking.gke.io/v1",
        "HealthCheckPolicy",
        record(
            targetRef=SERVICE,
            default=record(
                checkIntervalSec=seconds(300),
                timeoutSec=seconds(300),
                healthyThreshold={"type": "integer", "minimum": 1, "maximum": 10},
                unhealthyThreshold={"type": "integer", "minimum": 1, "maximum": 10},
                config=record(
                    type={"enum": ["HTTP", "HTTPS", "HTTP2", "GRPC", "TCP"]},
                    httpHealthCheck=record(port=PORT, requestPath=PATH),
                ),
            ),
        ),
    ),
    "GCPBackendPolicy": kind(
        "networking.gke.io/v1",
        "GCPBackendPolicy",
        record(
            targetRef=SERVICE,
            default=record(
                timeoutSec=seconds(2147483647),
                connectionDraining=record(drainingTimeoutSec=seconds(3600)),
            ),
        ),
    ),
    "PodMonitoring": kind(
        "monitoring.googleapis.com/v1",
        "PodMonitoring",
        record(
            selector=record(matchLabels=LABELS),
            endpoints=several(
                record(port=TEXT, interval={"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"})
            ),
            targetLabels=record(fromPod=several(record(**{"from": TEXT, "to": TEXT}))),
        ),
    ),
}
