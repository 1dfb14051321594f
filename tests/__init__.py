"""Tests: one module per module of the package, and whole services in tests/service."""
