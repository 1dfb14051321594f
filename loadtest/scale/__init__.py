"""A load test during which replicas, nodes and latency are recorded each second."""
