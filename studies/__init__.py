"""Experiments on this machine whose results the decisions in docs/decisions rest on.

python -m studies.policies    Which autoscaling policy and delays handle a sudden load best?
Results: bench/results/policies
Decision: docs/decisions/0004-autoscaling.md
python -m studies.capacity    Does the capacity plan predict what is measured?
Results: bench/results/capacity-1-replica.csv, -2-replicas.csv
Decision: docs/decisions/0008-capacity-model.md
python -m studies.clients     Do the clients of other model servers understand this one?
Results: docs/results/clients-2026-11-26.md
"""
