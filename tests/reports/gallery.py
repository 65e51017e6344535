"""Made-up examinations whose reports are looked at, by scripts/report_gallery, and measured: see test_report_layout."""

from __future__ import annotations

from typing import Any

from tests.reports.factories import SETTINGS, THRESHOLDS

LONG_NAME = "पुलिस-स्टेशन-में-शिकायत के साथ दिया गया वीडियो ತುಂಬಾ ನೀളമുള്ള പേര് పొడవైన పేరు দীর্ঘ নাম " * 3
BIDI_NAME = "مقطع فيديو \u202eexe.4pm (1) שלום 😀 ‘quoted’ <b>.mp4"
MANY_SETTINGS = {
    **SETTINGS,
    "thresholds": THRESHOLDS,
    **{f"preprocessing.step_{number}": number / 7 for number in range(12)},
    "faces": {"min_size": 40, "margin": 0.3, "thresholds": [0.6, 0.7, 0.7], "batch": 8},
    "pooling": {"method": "confident_mean", "clearly_real": 0.2, "clearly_fake": 0.8, "branches": ["all", "confident"]},
    "versions": {"torch": "9.9.9", "av": "18.0.0", "openvino": "2026.4.1"},
}
CASE: dict[str, Any] = {
    "case_id": "CR-2026/1183",
    "officer_name": "राजेश कुलकर्णी",
    "officer_id": "MH-4471",
    "station": "সল্টলেক থানা, বিধাননগর",
    "district": "തിരുവനന്തപുരം",
    "state": "తెలంగాణ",
    "fir_description": "तक्रारदाराच्या म्हणण्यानुसार व्हिडिओ समाजमाध्यमावर प्रसारित झाला.\nSecond line, in English. " * 12,
    "complainant_email": "a.very.long.address.of.a.complainant@a.very.long.domain.example.org",
    "complainant_address": "12/4, " + "W" * 180,
}

_SHARED: dict[str, Any] = {"portraits": True, "settings": MANY_SETTINGS}
# What make_reportable is given for each report.
CASES: dict[str, dict[str, Any]] = {
    "fake": {"outcome": "FAKE", "faces": 32, **_SHARED},
    "real": {"outcome": "REAL", "faces": 32, **_SHARED},
    "inconclusive": {"outcome": "INCONCLUSIVE", "faces": 32, **_SHARED},
    "not-assessable": {"outcome": "NOT_ASSESSABLE", "faces": 32, **_SHARED},
    "three-people": {"outcome": "FAKE", "people": 3, "faces": 32, "case": CASE, **_SHARED},
    "photo": {"outcome": "FAKE", "people": 2, "photo": True, **_SHARED},
    "extreme": {
        "outcome": "FAKE",
        "people": 12,
        "faces": 32,
        "media": {"duration": 60.0, "original_name": LONG_NAME[:196] + ".mp4"},
        **_SHARED,
    },
    "bidi": {"outcome": "REAL", "faces": 8, "media": {"original_name": BIDI_NAME}, "case": CASE, **_SHARED},
}
