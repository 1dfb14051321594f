"""The model: its card, its files and its predictions. Knows nothing of HTTP or Ray."""
