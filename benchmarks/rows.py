"""How much slower is everything with 100,000 analyses than with 1,000? On SQLite and on PostgreSQL.

    python -m benchmarks.rows [--rows 1000 100000] [--databases sqlite postgresql] [--waiting]

Prints, for each step, milliseconds at each number of rows, the ratio of the last to the first, and the number of
queries, which must not grow. `--waiting` has all of the analyses wait, where else a hundredth does. What is measured is
in `benchmarks.inside.rows`: the step itself in one process, with no web server in between and nobody else about.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.postgresql_process import running_postgresql
from tests.site_process import ROOT, SiteProcess

DATABASES = ("sqlite", "postgresql")
SITE = {"SENTINEL_DAILY_LIMIT": "30000", "LOG_LEVEL": "ERROR"}


def measure(database: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = dict(SITE)
        if database == "postgresql":
            environment["DATABASE_URL"] = stack.enter_context(running_postgresql(folder / "postgresql")).url()
        site = SiteProcess(folder / "site", **environment)
        site.prepare()
        command = [sys.executable, "-m", "benchmarks.inside.rows", *map(str, options.rows)]
        command += ["--repetitions", str(options.repetitions), *(["--waiting"] if options.waiting else [])]
        done = subprocess.run(command, cwd=ROOT, env=site.environment, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]


def report(database: str, measured: list[dict[str, Any]]) -> None:
    rows = "".join(f"{each['rows']:>12,}" for each in measured)
    write(f"{database:36}{rows}   ratio  queries")
    for step in measured[-1]["steps"]:
        found = [each["steps"][step] for each in measured if step in each["steps"]]
        times = "".join(f"{ms:9.1f} ms" for ms, _queries in found)
        queries = " → ".join(str(number) for number in dict.fromkeys(number for _ms, number in found))
        write(f"  {step:34}{times} {found[-1][0] / found[0][0]:7.2f}  {queries}")


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--repetitions", type=int, default=15, help="of each step")
    parser.add_argument("--waiting", action="store_true", help="all of the analyses wait")
    options = parser.parse_args()
    write(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for database in options.databases:
        report(database, measure(database, options))


if __name__ == "__main__":
    main()
