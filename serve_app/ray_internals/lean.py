"""Imports Ray Serve without what only data pipelines need.

Serve imports pandas where it is installed, to write tables as JSON for local tests, and Ray imports
pyarrow, to send tables between processes. A service does neither. Both cost each of its processes a
third of a second and 40 MB. Source: the head of ray/serve/_private/utils.py, and ``apply`` in
ray/util/serialization_addons.py.
"""

import sys


def import_serve() -> None:
    """Import Ray Serve; models that need pandas or pyarrow still import them."""
    without_tables = "pandas" not in sys.modules
    if without_tables:
        # None makes the import fail; Serve then does without.
        sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        import ray.serve._private.replica  # noqa: F401 - the largest of its parts
    finally:
        if without_tables:
            del sys.modules["pandas"]
    from ray._private import arrow_serialization

    arrow_serialization._register_custom_datasets_serializers = lambda _context: None  # noqa: SLF001
