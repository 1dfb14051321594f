"""A GKE cluster, and every identity that the service and its delivery need.

target      which project, region, cluster and repository, and the names that follow
gcloud      what a resource is: how to find, create, change and delete it
resources   all of them, as a table
setup       creates what is missing, or deletes it in reverse order
"""
