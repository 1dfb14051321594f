"""A GKE cluster and every identity that the service and its delivery need.

target      which project, region, cluster and repository
listing     what exists already
policy      roles, granted once and only where they are needed
setup       everything, in order; running it again changes nothing
teardown    the way back
"""
