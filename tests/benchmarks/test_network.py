"""The cables that `benchmarks.hosts` pulls: what is cut is silent, and goes on where it was."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.network import Relays, network_of


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _address = server.accept()
            with connection:
                while content := connection.recv(100):
                    connection.sendall(content)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_a_cut_host_hears_nothing_until_its_network_is_mended(echo: int) -> None:
    with network_of(2, namespaces=False) as network:
        assert isinstance(network, Relays)
        with socket.create_connection(network.reach(1, echo), timeout=5) as connection:
            connection.sendall(b"one")
            assert connection.recv(100) == b"one"
            network.cut(1)
            connection.sendall(b"two")
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(100)
            network.mend(1)
            connection.settimeout(5)
            assert connection.recv(100) == b"two"


def test_only_the_host_that_is_cut_is(echo: int) -> None:
    with network_of(2, namespaces=False) as network:
        network.cut(2)
        with socket.create_connection(network.reach(1, echo), timeout=5) as connection:
            connection.sendall(b"one")
            assert connection.recv(100) == b"one"
        assert network.address(1) != network.address(2)
