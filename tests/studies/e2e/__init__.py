"""Tests of the end-to-end run: its parts; the run itself needs a cluster."""
