"""Random requests made from the schema find no error, no status that is not documented, no answer of another shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.fuzz import ENVIRONMENT, attack
from tests.site_process import running_site
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow

# Always the same requests, so that a change is to blame for what is found; `make fuzz` looks further.
SEED = 20261123


@pytest.mark.long
def test_random_requests_are_answered_as_the_schema_says(prepared: Path, tmp_path: Path) -> None:
    detectors = str(write_tiny_detector(tmp_path / "detectors").parent)
    environment = {**ENVIRONMENT, "SENTINEL_DETECTOR": NAME, "SENTINEL_DETECTORS_DIR": detectors}
    with running_site(prepared, tmp_path / "data", **environment) as site:
        outcome = attack(site, user="fuzz", examples=1, seed=SEED, report=tmp_path)
        assert outcome.passed, f"{outcome.output}\n{site.log('web')}"
        # It got through to the views, and with all kinds of requests.
        assert outcome.requests > 500
        assert {200, 201, 400, 401, 404, 405} <= set(outcome.statuses)
