"""Fixtures of the Kubernetes tests."""

from pathlib import Path

import pytest

from tests.deploy.fake_tools import FakeTools


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """Recording gcloud, kubectl, helm and gh, and no other program on PATH."""
    tools = FakeTools(tmp_path / "tools")
    monkeypatch.setenv("PATH", str(tools.bin))
    monkeypatch.setattr("deploy.shell.RETRY_SECONDS", 0.0)
    return tools
