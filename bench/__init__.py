"""Benchmarks: scripts that print a table and save raw results; see docs/benchmarks.md."""
