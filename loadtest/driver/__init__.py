"""The load test: what is sent and when, what is checked, and the files that come of it.

Only `users` and `shape` import Locust, which patches sockets when it is imported.
"""
