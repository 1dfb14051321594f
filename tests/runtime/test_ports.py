"""Ports that can be used, and those that cannot."""

import socket

import pytest

from serve_app.runtime.ports import LOOPBACK, PortError, free_port, listens, require_free_port


def test_a_free_port_is_accepted_and_stays_free() -> None:
    """The check itself leaves nothing behind."""
    port = free_port()
    require_free_port(port)
    require_free_port(port)
    assert not listens(port)


def test_a_taken_port_is_refused() -> None:
    """The error names the port and the option that chooses another."""
    with socket.create_server((LOOPBACK, 0)) as owner:
        taken = owner.getsockname()[1]
        assert listens(taken)
        with pytest.raises(PortError, match=f"port {taken} cannot be used .* --port"):
            require_free_port(taken)


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    """A number that is no port is an error like a taken port."""
    with pytest.raises(PortError, match=f"port {port} cannot be used"):
        require_free_port(port)
