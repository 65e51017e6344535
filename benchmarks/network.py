"""A small network of hosts on one machine, whose cables can be pulled: namespaces for root, relays for everybody else.

What the hosts share (database, Redis, storage) listens at :attr:`Network.services`. A host reaches it at what
:meth:`Network.reach` says, lives at :meth:`Network.address`, and its processes are started behind
:meth:`Network.within`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator

# Bytes that a relay takes at a time.
PIECE = 64 * 1024


class Network(ABC):
    """Hosts are numbered from 1."""

    services: str

    @abstractmethod
    def address(self, host: int) -> str: ...

    @abstractmethod
    def reach(self, host: int, port: int) -> tuple[str, int]:
        """Where a host finds the service that listens on this port at :attr:`services`."""

    @abstractmethod
    def within(self, host: int) -> list[str]:
        """What a command line on this host begins with."""

    @abstractmethod
    def cut(self, host: int) -> None:
        """From now on nothing comes through from or to the host, and nobody is told."""

    @abstractmethod
    def mend(self, host: int) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class Namespaces(Network):
    """Each host is a network namespace with a name of its own, on a bridge with the services."""

    def __init__(self, hosts: int) -> None:
        self._pid = os.getpid()
        self._bridge = f"sb{self._pid}"
        self._hosts = range(1, hosts + 1)
        # A network of its own for each run.
        self._net = f"10.{200 + self._pid % 50}.{self._pid // 50 % 250}"
        self.services = f"{self._net}.254"
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self.services}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for host in self._hosts:
            name, end = self._namespace(host), self._cable(host)
            _ip("netns", "add", name)
            _ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", end, "master", self._bridge, "up")
            _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")

    def _namespace(self, host: int) -> str:
        return f"sentinel{self._pid}-{host}"

    def _cable(self, host: int) -> str:
        return f"sv{self._pid}-{host}"

    def address(self, host: int) -> str:
        return f"{self._net}.{host}"

    def reach(self, host: int, port: int) -> tuple[str, int]:
        return self.services, port

    def within(self, host: int) -> list[str]:
        renamed = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', f"host{host}"]
        return ["ip", "netns", "exec", self._namespace(host), *renamed]

    def cut(self, host: int) -> None:
        _ip("link", "set", self._cable(host), "down")

    def mend(self, host: int) -> None:
        _ip("link", "set", self._cable(host), "up")

    def close(self) -> None:
        for host in self._hosts:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._namespace(host))
            # It may outlive the namespace's name as long as a process is in there.
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("link", "del", self._cable(host))
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._bridge)


class Relays(Network):
    """Each host has an address of its own on loopback, and reaches each service through a relay that can stop."""

    def __init__(self, hosts: int) -> None:
        self.services = "127.0.0.1"
        self._open = {host: asyncio.Event() for host in range(1, hosts + 1)}
        self._ports: dict[tuple[int, int], int] = {}
        self._loop: asyncio.AbstractEventLoop
        self._closed = asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), name="relays", daemon=True)
        self._thread.start()
        ready.wait()

    async def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        for cable in self._open.values():
            cable.set()
        ready.set()
        await self._closed.wait()
        for cable in self._open.values():
            cable.set()

    def address(self, host: int) -> str:
        return f"127.0.0.{host + 1}"

    def reach(self, host: int, port: int) -> tuple[str, int]:
        if (host, port) not in self._ports:
            listening = asyncio.run_coroutine_threadsafe(self._listen(host, port), self._loop)
            self._ports[host, port] = listening.result(timeout=10)
        return "127.0.0.1", self._ports[host, port]

    def within(self, host: int) -> list[str]:
        return []

    def cut(self, host: int) -> None:
        self._loop.call_soon_threadsafe(self._open[host].clear)

    def mend(self, host: int) -> None:
        self._loop.call_soon_threadsafe(self._open[host].set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(timeout=10)

    async def _listen(self, host: int, port: int) -> int:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._open[host].wait()
            try:
                there_reader, there_writer = await asyncio.open_connection(self.services, port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(
                self._pump(host, reader, there_writer), self._pump(host, there_reader, writer), return_exceptions=True
            )

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        listening: int = server.sockets[0].getsockname()[1]
        return listening

    async def _pump(self, host: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE):
                await self._open[host].wait()
                writer.write(piece)
                await writer.drain()
        finally:
            # The end of a connection does not come through a cut cable either.
            await self._open[host].wait()
            writer.close()


@contextlib.contextmanager
def network_of(hosts: int, *, namespaces: bool | None = None) -> Iterator[Network]:
    """`namespaces` None: where they can be had."""
    if namespaces is None:
        namespaces = os.geteuid() == 0 and all(shutil.which(program) for program in ("ip", "unshare"))
    network: Network = Namespaces(hosts) if namespaces else Relays(hosts)
    try:
        yield network
    finally:
        network.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
