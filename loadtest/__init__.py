"""Load, scale and plan the service: what it does under traffic, and how much of it is needed."""
