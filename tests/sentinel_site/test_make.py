"""`make run`, up to what it starts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def _make_run(folder: Path) -> list[str]:
    """What `make run` would do there, where everything is installed."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("requirements.txt", ".venv/bin/pip", ".venv/.runtime"):
        (folder / name).touch()
    # Not what the make that runs these tests tells those below it.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--dry-run", "run"], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_clone_may_lie_in_any_folder(tmp_path: Path) -> None:
    for name in ("plain", "my site, हिन्दी"):
        (tmp_path / name).mkdir()
    steps = _make_run(tmp_path / "plain")
    assert steps[0] == "scripts/check_port"
    assert steps[-1] == "exec supervisord -c supervisord.conf"
    elsewhere = _make_run(tmp_path / "my site, हिन्दी")
    assert [step.replace("my site, हिन्दी", "plain") for step in elsewhere] == steps
    # The supervisor reads commands as a shell does.
    commands = [line for line in (ROOT / "supervisord.conf").read_text().splitlines() if line.startswith("command=")]
    assert len(commands) == 3
    assert all(line.startswith('command="%(ENV_VIRTUAL_ENV)s/bin/python" ') for line in commands)


def test_a_port_that_is_taken_is_told_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        taken, wrong = (
            subprocess.run(
                [sys.executable, ROOT / "scripts/check_port"],
                env={**os.environ, "HOST": "127.0.0.1", "PORT": given},
                capture_output=True,
                text=True,
                check=False,
            )
            for given in (port, "http")
        )
    assert (taken.returncode, wrong.returncode) == (1, 1)
    assert f"cannot listen on 127.0.0.1:{port}: [Errno 98]" in taken.stderr
    assert "make run PORT=" in wrong.stderr
    free = subprocess.run(
        [sys.executable, ROOT / "scripts/check_port"],
        env={**os.environ, "HOST": "127.0.0.1", "PORT": "0"},
        check=False,
    )
    assert free.returncode == 0
