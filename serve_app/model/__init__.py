"""The model: what it is, how it is stored, how it answers. Knows nothing of HTTP or Ray."""
