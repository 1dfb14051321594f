"""Real clients of other model servers, asking a service of this project.

A client that needs other versions of what we have runs in an environment of its own. Modules that
run there import nothing of this project but `studies.clients.case` and `studies.clients.checks`,
which import the standard library only.
"""
