"""Replicas, pods, nodes and cost for a load, from a measured saturation curve."""
