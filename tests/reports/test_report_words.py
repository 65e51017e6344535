"""No text of a report is left unmarked for translation, found as in tests.sentinel_site.test_unmarked_texts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from media_analysis import custody
from reports.document import SealNote, compose
from reports.pdf import get_engine
from tests.reports.factories import make_reportable
from tests.sentinel_site.test_unmarked_texts import PSEUDO, pseudo_folder, unmarked

__all__ = ["pseudo_folder"]
# What the file says of itself, and names of settings, which are those of the code.
DIGEST = re.compile(r"[0-9a-f]{16,64}…?")
KNOWN = {"Lavf62.12.100", "Apple iPhone 15", "jpeg", "thresholds.fake", "thresholds.real", "thresholds.frame"}


@pytest.mark.parametrize(
    ("outcome", "photo"), [("FAKE", False), ("REAL", True), ("INCONCLUSIVE", False), ("NOT_ASSESSABLE", False)]
)
def test_reports_have_no_unmarked_text(
    *, owner: User, outcome: str, photo: bool, pseudo_folder: Path, settings: Any
) -> None:
    settings.LOCALE_PATHS = [pseudo_folder]
    settings.LANGUAGES = [("en", "English"), (PSEUDO, "English")]
    few = {"thresholds": {"fake": 0.8, "real": 0.25, "frame": 0.8}}
    analysis = make_reportable(owner, outcome, people=2, photo=photo, case={"case_id": "7"}, settings=few)
    custody.record(analysis.media.public_id, custody.Event.RECEIVED, actor=owner)
    composed = compose(
        analysis,
        PSEUDO,
        get_engine(),
        made_at=timezone.now(),
        custody_events=list(custody.events_of(analysis.media.public_id)),
        original_sha256="0" * 64,
        seal=SealNote("0" * 24, "", "0" * 64),
    )
    # The fonts of reports lack these two.
    markup = composed.markup.replace("[U+27E6]", "⟦").replace("[U+27E7]", "⟧")
    assert "⟦" in markup
    left = [text for text in unmarked(markup) if text not in KNOWN and not DIGEST.fullmatch(text)]
    assert left == []
