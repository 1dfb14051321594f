"""A local Cloud Trace in the place of Google's."""

from collections.abc import Iterator

import pytest

from serve_app.tracing import exporters
from serve_app.tracing.exporters import ENDPOINT_VARIABLE
from tests.support.cloud_trace import CloudTrace


@pytest.fixture
def cloud_trace() -> Iterator[CloudTrace]:
    """A local Cloud Trace."""
    with CloudTrace() as server:
        yield server


@pytest.fixture
def named_cloud_trace(cloud_trace: CloudTrace, monkeypatch: pytest.MonkeyPatch) -> CloudTrace:
    """A local Cloud Trace that the environment names."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "gcp_trace")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    monkeypatch.setenv(ENDPOINT_VARIABLE, cloud_trace.endpoint)
    return cloud_trace


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporters give up soon."""
    monkeypatch.setattr(exporters, "EXPORT_SECONDS", 0.5)
