"""Reports that the worker makes before anybody asks."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from media_analysis import services as media_services
from media_analysis import signals
from media_analysis.models import Analysis
from reports import ahead, case_maker, services
from reports.models import Report
from tests.conftest import make_user
from tests.media_analysis.factories import make_analysis
from tests.reports.factories import make_reportable


def test_the_owners_language_is_made_with_the_english_original(owner: User) -> None:
    owner.language = "mr"
    owner.save()
    make_reportable(owner, "NOT_ASSESSABLE")
    maker = ahead.Maker()
    assert maker.make_one()
    assert set(Report.objects.values_list("language", flat=True)) == {"mr", "en"}
    assert not maker.make_one()


def test_without_a_language_of_the_account_it_is_english(owner: User) -> None:
    make_reportable(owner, "NOT_ASSESSABLE")
    assert ahead.Maker().make_one()
    assert Report.objects.get().language == "en"


@pytest.mark.parametrize("status", ["queued", "running"])
def test_examinations_go_first(owner: User, status: str) -> None:
    make_reportable(owner, "NOT_ASSESSABLE")
    waiting = make_analysis(owner, status=status)
    maker = ahead.Maker()
    assert not maker.make_one()
    waiting.delete()
    assert maker.make_one()


def test_only_what_was_done_lately_is_made(owner: User) -> None:
    analysis = make_reportable(owner, "NOT_ASSESSABLE")
    make_analysis(owner, status=Analysis.Status.FAILED, finished_at=timezone.now())
    deleted = make_reportable(owner, "NOT_ASSESSABLE")
    media_services.delete_media(deleted.media)
    assert [found.pk for found in ahead.missing()] == [analysis.pk]
    Analysis.objects.filter(pk=analysis.pk).update(finished_at=timezone.now() - timedelta(hours=1))
    assert not ahead.missing().exists()


def test_what_cannot_be_made_is_tried_once_and_holds_up_nothing(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = make_reportable(owner, "NOT_ASSESSABLE")
    whole = make_reportable(owner, "NOT_ASSESSABLE")
    get_report, asked = services.get_report, []

    def fail_for_one(analysis: Analysis, language: str) -> Report:
        asked.append(analysis.pk)
        if analysis.pk == broken.pk:
            raise FileNotFoundError("frame-0.jpg")
        return get_report(analysis, language)

    monkeypatch.setattr(services, "get_report", fail_for_one)
    maker = ahead.Maker()
    assert maker.make_one()
    assert maker.make_one()
    assert not maker.make_one()
    assert asked == [broken.pk, whole.pk]


@pytest.mark.django_db(transaction=True)
def test_the_worker_has_a_thread_for_it_where_the_address_of_the_site_is_known(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker has others too.
    monkeypatch.setattr(case_maker.Maker, "start", lambda _self: None)
    settings.SENTINEL_URL = ""
    started = signals.worker_starts.send(sender=object)
    assert [thread for _receiver, thread in started if isinstance(thread, ahead.Maker)] == []
    settings.SENTINEL_URL = "https://sentinel.example.org"
    made = threading.Event()
    analysis = make_reportable(make_user("owner"), "NOT_ASSESSABLE")
    maker: Any
    started = signals.worker_starts.send(sender=object)
    (maker,) = [thread for _receiver, thread in started if isinstance(thread, ahead.Maker)]
    try:
        for _try in range(300):
            if Report.objects.filter(analysis=analysis).exists():
                made.set()
                break
            made.wait(0.1)
    finally:
        maker.stop()
    assert made.is_set()
    assert not maker.is_alive()
