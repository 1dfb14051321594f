"""Spans on their way out: which exporter, what became of them, why they did not arrive."""
