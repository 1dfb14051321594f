"""Hours of traffic against the autoscaling policy, without a cluster."""
