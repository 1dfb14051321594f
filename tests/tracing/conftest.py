"""A local Cloud Trace in the place of Google's."""

from collections.abc import Iterator

import pytest

from serve_app.tracing import exporters
from serve_app.tracing.exporters import ENDPOINT_VARIABLE
from tests.support.cloud_trace import CloudTrace


@pytest.fixture
def cloud_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudTrace]:
    """A local Cloud Trace that the environment names."""
    with CloudTrace() as server:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "gcp_trace")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
        monkeypatch.setenv(ENDPOINT_VARIABLE, server.endpoint)
        monkeypatch.setattr(exporters, "EXPORT_SECONDS", 0.5)
        yield server
