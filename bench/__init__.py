"""Benchmarks: scripts that print a table and save raw results (``python -m bench --help``).

stats         medians, ranges and ratios over rounds
processes     start, watch and stop what is measured
ray_host      several applications in one Ray, in production mode
ceiling       Ray's own ceiling: a deployment that answers a constant
predecessor   FastAPI as it is often written: a DataFrame per request
tuned         FastAPI written for speed
otlp_sink     an OTLP server that discards spans
systems       what is measured, and at which address
client        load generator in Python: open loop, and closed loop where wrk is missing
load          runs a load generator and reads its result
measures      the measurements, in alternating rounds
report        tables, goals, machine, files
"""
