"""A project that is set up, by recorded commands."""

import contextlib
import io
from dataclasses import dataclass

import pytest

from serve_app.cli.main import main
from tests.deploy.fake_tools import FakeTools
from tests.deploy.gke.commands import (
    SETUP,
)


@dataclass(frozen=True)
class Run:
    """A set-up of an empty project: its exit code, the tools after it, and what it printed."""

    code: int
    tools: FakeTools
    printed: str


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One set-up of an empty project."""
    tools = FakeTools(tmp_path_factory.mktemp("first_run"))
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        monkeypatch.setenv("PATH", str(tools.bin))
        return Run(main(SETUP), tools, printed.getvalue())


@pytest.fixture
def installed(first_run: Run, tools: FakeTools) -> FakeTools:
    """Tools that find everything set up, and nothing recorded yet."""
    tools.update(**first_run.tools.state)
    return tools
