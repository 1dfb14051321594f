"""Export of spans: which exporter, whether they arrived, and if not, why."""
