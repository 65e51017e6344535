"""Attacks a site's API with random requests made from its own schema.

python -m tests.api.fuzz [--requests 5000] [--seed 1] [--report FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.site_process import PASSWORD, ROOT, SiteProcess, prepare_data, running_site
from tests.tiny_detector import NAME, write_tiny_detector

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = "tests.api.fuzz_hooks"
ENVIRONMENT = {"SENTINEL_DAILY_LIMIT": "30000", "LOGIN_FAILURE_LIMIT": "1000000", "LOG_LEVEL": "ERROR"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. ``statuses`` counts the answers by status."""

    passed: bool
    output: str
    requests: int
    statuses: Counter[int]


def attack(
    site: SiteProcess, *, user: str, examples: int, seed: int, report: Path, phases: str = "examples,coverage,fuzzing"
) -> Outcome:
    """Send up to `examples` requests of each kind to each operation, as a new user."""
    email = f"{user}@example.org"
    account = {"username": user, "email": email, "password": PASSWORD}
    requests.post(f"{site.url}/api/v1/account/", json=account, timeout=60).raise_for_status()
    program = Path(sys.executable).with_name("schemathesis")
    events = report / "events.ndjson"
    command = [str(program), "--config-file", str(CONFIG), "run", str(ROOT / "docs" / "openapi.yaml")]
    command += ["--url", site.url, "--phases", phases, "--max-examples", str(examples)]
    command += ["--seed", str(seed), "--continue-on-failure", "--no-color"]
    # Long, for machines that are busy with other things.
    command += ["--request-timeout", "120"]
    command += ["--report", "ndjson", "--report-ndjson-path", str(events)]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": HOOKS,
        "PYTHONPATH": str(ROOT),
        "FUZZ_SITE": site.url,
        "FUZZ_EMAIL": email,
        "FUZZ_PASSWORD": PASSWORD,
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(command, cwd=report, env=environment, capture_output=True, text=True, check=False)
    statuses = count_statuses(events)
    return Outcome(done.returncode == 0, done.stdout + done.stderr, statuses.total(), statuses)


def count_statuses(events: Path) -> Counter[int]:
    """Of every answer in schemathesis's own report."""
    found: Counter[int] = Counter()
    for line in events.read_text(encoding="utf-8").splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for interaction in recorder.get("interactions", {}).values():
            if response := interaction.get("response"):
                found[response["status_code"]] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000, help="at least so many, in rounds with another seed each")
    parser.add_argument("--examples", type=int, default=40, help="for each operation and round")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    options = parser.parse_args()
    sent, seed = 0, options.seed
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "prepared").mkdir()
        prepare_data(scratch / "prepared")
        detectors = write_tiny_detector(scratch / "detectors").parent
        environment = {**ENVIRONMENT, "SENTINEL_DETECTOR": NAME, "SENTINEL_DETECTORS_DIR": str(detectors)}
        with running_site(scratch / "prepared", scratch / "data", **environment) as site:
            while sent < options.requests:
                outcome = attack(site, user=f"fuzz-{seed}", examples=options.examples, seed=seed, report=scratch)
                sent, seed = sent + outcome.requests, seed + 1
                sys.stdout.write(f"{outcome.output}\n{sent} requests; answers by status: {dict(outcome.statuses)}\n")
                if not outcome.passed:
                    sys.exit(site.log("web"))


if __name__ == "__main__":
    main()
