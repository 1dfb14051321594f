"""A GKE cluster, and every identity that the service and its delivery need."""
