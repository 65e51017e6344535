"""A PostgreSQL server of a test's own, which can be stopped, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.site_process import wait_until

USER = "sentinel"


class PostgresqlProcess:
    """A server with its data below ``folder``, listening on a port of ``address``.

    It keeps what was committed across :meth:`kill` and :meth:`start`, unless the machine itself loses power: what is
    thrown away after the test need not reach the disk.
    """

    def __init__(self, folder: Path, *, max_connections: int = 100, address: str = "127.0.0.1") -> None:
        self.programs = find_programs()
        self.folder = folder
        self.max_connections = max_connections
        self.address = address
        with socket.socket() as free:
            free.bind((address, 0))
            self.port = free.getsockname()[1]
        folder.mkdir(parents=True, exist_ok=True)
        # The server refuses to run as root.
        self._run_as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._run_as:
            shutil.chown(folder, "postgres", "postgres")
            _let_others_through(folder)
        self._run("initdb", "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
        with (folder / "data/pg_hba.conf").open("a") as rules:
            # Also who comes from other hosts of a network made for a test.
            rules.write("host all all samenet trust\n")

    def url(self, name: str = "postgres") -> str:
        """What ``DATABASE_URL`` is for the database ``name``."""
        return f"postgres://{USER}@{self.address}:{self.port}/{name}"

    def start(self) -> None:
        """Returns when it takes connections, after a kill also when it has recovered."""
        options = (
            f"-p {self.port} -c listen_addresses={self.address} -c unix_socket_directories='' -c fsync=off "
            f"-c max_connections={self.max_connections}"
        )
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")
        wait_until(self.answers, seconds=20, what="PostgreSQL to answer")

    def stop(self) -> None:
        """As an administrator stops it: whoever is connected is cut off."""
        self._run("pg_ctl", "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """SIGKILL to all of its processes, as when the machine dies."""
        postmaster = psutil.Process(int((self.folder / "data/postmaster.pid").read_text().split()[0]))
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=20)

    def execute(self, statement: str, *, name: str = "postgres") -> list[tuple[object, ...]]:
        """The rows of one statement, each in a transaction of its own."""
        import psycopg

        with psycopg.connect(self.url(name), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return list(cursor.fetchall()) if cursor.description else []

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Its URL. A ``template`` nobody is connected to is copied in a moment, migrated tables and all."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def answers(self) -> bool:
        """Whether it takes connections just now."""
        command = [str(self.programs / "pg_isready"), "-q", "-h", self.address, "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def is_running(self) -> bool:
        """Whether its main process lives, taking connections or not."""
        command = [*self._run_as, str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), "status"]
        return subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._run_as, str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL)


def find_programs() -> Path:
    """Where the newest PostgreSQL's programs are. Skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4].split(".")[0]))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


@contextmanager
def running_postgresql(
    folder: Path, *, max_connections: int = 100, address: str = "127.0.0.1"
) -> Iterator[PostgresqlProcess]:
    """A server that was just started, and is stopped at the end. Skips the test where PostgreSQL is not installed."""
    server = PostgresqlProcess(folder, max_connections=max_connections, address=address)
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()


def _let_others_through(folder: Path) -> None:
    """Let the server's own user reach a folder below those that only root may enter, which pytest makes."""
    for parent in folder.parents:
        mode = parent.stat().st_mode & 0o7777
        if not mode & 0o001 and parent.stat().st_uid == os.geteuid():
            parent.chmod(mode | 0o001)
