"""Ports that can be used, those that cannot, and those that make room for another service."""

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from serve_app.runtime.ports import (
    FIXED_PORTS,
    LOOPBACK,
    SPARE_PORTS,
    PortError,
    fixed_ports,
    free_port,
    listens,
    require_free_port,
    user_of,
)

STATISTICS = "RAY_SERVE_HAPROXY_STATS_PORT"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.create_server((LOOPBACK, 0)) as owner:
        yield owner.getsockname()[1]


def test_a_free_port_is_accepted_and_stays_free() -> None:
    """The check itself leaves nothing behind."""
    port = free_port()
    require_free_port(port)
    require_free_port(port, address=LOOPBACK)
    assert not listens(port)
    assert user_of(port) is None


def test_a_taken_port_is_refused(taken: int) -> None:
    """The error names the port, the process that uses it, and the option that chooses another."""
    assert listens(taken)
    user = f"{psutil.Process().name()} (pid {os.getpid()})"
    with pytest.raises(PortError) as error:
        require_free_port(taken)
    assert str(error.value) == (
        f"port {taken} is in use by {user}; stop it, or choose another port with --port"
    )


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    """A number that is no port is an error like a taken port."""
    with pytest.raises(PortError, match=f"port {port} cannot be used"):
        require_free_port(port)


def test_an_address_of_another_machine_is_refused() -> None:
    """Nothing can listen there; 192.0.2.0/24 is kept for documentation."""
    with pytest.raises(PortError, match=r"192\.0\.2\.1 is no address of this machine.*--host"):
        require_free_port(free_port(), address="192.0.2.1")


def test_ports_move_only_out_of_the_way(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is free stays; one in use is replaced, and a line says so."""
    free = free_port()
    monkeypatch.setitem(FIXED_PORTS, STATISTICS, taken)
    for name in FIXED_PORTS.keys() - {STATISTICS}:
        monkeypatch.setitem(FIXED_PORTS, name, free)
    said: list[str] = []
    variables = fixed_ports({}, move=False, say=said.append)
    assert set(variables) == {STATISTICS}
    require_free_port(int(variables[STATISTICS]))
    (line,) = said
    assert line.startswith(f"port {taken} is in use by ")
    assert line.endswith(f"{variables[STATISTICS]} takes its place")


def test_all_ports_move_for_a_second_service() -> None:
    """The first one may not have taken the usual ones yet."""
    variables = fixed_ports({}, move=True, say=print)
    assert set(variables) == set(FIXED_PORTS)
    assert len(set(variables.values())) == len(FIXED_PORTS)
    assert not set(map(int, variables.values())) & set(FIXED_PORTS.values())


def test_a_moved_port_is_none_that_ray_may_get() -> None:
    """Ray asks the kernel for free ports before HAProxy takes the ones that were chosen for it."""
    assert free_port() not in SPARE_PORTS
    for port in map(int, fixed_ports({}, move=True, say=print).values()):
        assert port in SPARE_PORTS


def test_ports_of_the_user_stay(taken: int) -> None:
    """A variable of the user is not replaced; an error names it if its port cannot be used."""
    free = str(free_port())
    assert STATISTICS not in fixed_ports({STATISTICS: free}, move=True, say=print)
    with pytest.raises(PortError, match=f"port {taken} is in use by .* set {STATISTICS} to"):
        fixed_ports({STATISTICS: str(taken)}, move=False, say=print)
    with pytest.raises(PortError, match=f"{STATISTICS}='http' is not a port"):
        fixed_ports({STATISTICS: "http"}, move=False, say=print)
