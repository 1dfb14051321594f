"""Benchmarks: programs that print a table and save raw results.

``python -m bench`` compares with other servers, ``python -m studies.capacity`` checks the capacity
plan. Modules, each knowing only those above it:

    stats         medians, ranges and ratios over rounds
    processes     start, watch and stop what is measured
    ceiling       Ray's own ceiling: a deployment that answers a constant
    predecessor   FastAPI as it is often written: a DataFrame per request
    tuned         FastAPI written for speed
    otlp_sink     an OTLP server that discards spans
    ray_host      several applications in one Ray, in production mode
    systems       what is measured, and at which address
    client        load generator in Python: open loop, and closed loop where wrk is missing
    load          runs a load generator and reads its result
    measures      the measurements, in alternating rounds
    report        tables, goals, machine
"""
