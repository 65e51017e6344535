from __future__ import annotations

import pytest

from media_analysis.templatetags.verdicts import cautiously


@pytest.mark.parametrize(
    ("percent", "shown"),
    [(73.25, "73.3 %"), (99.9, "99.9 %"), (99.96, "more than 99.9 %"), (100.0, "more than 99.9 %")],
)
def test_a_confidence_is_never_shown_as_certainty(percent: float, shown: str) -> None:
    assert cautiously(percent) == shown
