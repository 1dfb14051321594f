"""Running on one machine and in a pod: processes, signals, ports, HAProxy, start and drain."""
