"""Benchmarks: ``python -m bench`` compares the service with other servers, in one run."""

from pathlib import Path

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "bench" / "results"
