"""Load, scale and plan the service: what it does under traffic, and how much of it is needed.

    locustfile    the load test for Locust itself: locust -f loadtest/locustfile.py
    driver        its parts: scenarios, users, checks of the answers, thresholds, Locust's files
    scale         a load test during which replicas and nodes are watched: serve-app scale
    capacity      replicas, pods, nodes and cost from a measured curve: serve-app plan
    simulate      a day of traffic against the autoscaling, without a cluster: serve-app simulate

``driver`` imports none of the others; ``scale``, ``capacity`` and ``simulate`` import ``driver``,
and ``simulate`` also imports ``capacity``.
"""
