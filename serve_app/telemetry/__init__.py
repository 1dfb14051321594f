"""What a prediction leaves behind: a span, metrics, log lines."""
