"""What users say about results: kept once each, consented to only by themselves, decided on only by reviewers."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db.models import QuerySet
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import feedback, services
from media_analysis.models import Analysis, Feedback
from tests.conftest import make_user
from tests.media_analysis.factories import a_result, make_analysis, make_done, make_feedback

pytestmark = pytest.mark.django_db(transaction=True)

AGREE, DISAGREE = Feedback.Opinion
Review, Method = Feedback.Review, Feedback.Method


@pytest.fixture
def done(owner: User) -> Analysis:
    return make_done(owner)


@pytest.fixture
def reviewer(db: None) -> User:
    """Staff with no other right than to review."""
    user = make_user("reviewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_feedback", "review_feedback"]))
    return user


@pytest.fixture
def as_reviewer(reviewer: User) -> Client:
    client = Client()
    client.force_login(reviewer, backend="accounts.backends.UsernameOrEmailBackend")
    return client


def form_url(analysis: Analysis) -> str:
    return reverse("media_analysis:feedback", args=[analysis.public_id])


def api_url(analysis: Analysis) -> str:
    return f"/api/v1/analyses/{analysis.public_id}/feedback/"


def change_list(**asked: str) -> str:
    query = "&".join(f"{key}={value}" for key, value in asked.items())
    return reverse("admin:media_analysis_feedback_changelist") + (f"?{query}" if query else "")


def test_the_result_page_asks_and_consent_is_not_ticked(done: Analysis, as_owner: Client) -> None:
    page = as_owner.get(reverse("reports:result", args=[done.public_id])).content.decode()
    assert "Is this result right?" in page
    assert "This file may be used to improve the detector" in page
    assert "what a detector has already learnt cannot be taken back" in page
    assert not re.search(r"<input[^>]*\bchecked", page)


def test_what_is_said_is_kept_and_shown(done: Analysis, as_owner: Client) -> None:
    said = {"opinion": "disagree", "comment": "I filmed it myself."}
    page = as_owner.post(form_url(done), said, follow=True).content.decode()
    given = Feedback.objects.get()
    assert (given.opinion, given.comment, given.consent_at) == (DISAGREE, "I filmed it myself.", None)
    assert "Thank you." in page
    assert "You said: “I disagree: it is wrong”" in page


def test_there_is_one_feedback_each_and_it_changes(done: Analysis, as_owner: Client) -> None:
    as_owner.post(form_url(done), {"opinion": "agree", "consent": "on"})
    since = Feedback.objects.get().consent_at
    as_owner.post(form_url(done), {"opinion": "disagree", "consent": "on"})
    given = Feedback.objects.get()
    assert (given.opinion, given.consent_at, given.consent_version) == (DISAGREE, since, feedback.CONSENT_VERSION)


def test_of_two_requests_at_once_the_later_changes_what_the_earlier_made(
    done: Analysis, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_feedback(done, opinion=AGREE)
    # Looked before the other had written.
    monkeypatch.setattr(QuerySet, "first", lambda self: None)
    feedback.give_feedback(user=owner, analysis=done, opinion=DISAGREE, consent=True)
    assert Feedback.objects.get().opinion == DISAGREE


def test_sending_without_the_tick_withdraws_and_so_does_the_button(done: Analysis, as_owner: Client) -> None:
    as_owner.post(form_url(done), {"opinion": "agree", "consent": "on"})
    as_owner.post(form_url(done), {"opinion": "agree"})
    assert Feedback.objects.get().consent_at is None
    as_owner.post(form_url(done), {"opinion": "agree", "consent": "on"})
    page = as_owner.get(form_url(done)).content.decode()
    assert "It has not been handed over for training yet" in page
    as_owner.post(reverse("media_analysis:withdraw_consent", args=[done.public_id]))
    given = Feedback.objects.get()
    assert (given.opinion, given.consent_at, given.consent_version) == (AGREE, None, 0)


def test_after_a_hand_over_the_page_does_not_promise_what_cannot_be_kept(
    done: Analysis, admin: User, as_owner: Client
) -> None:
    given = make_feedback(done, reviewer=admin)
    assert feedback.hand_over([given.pk])
    page = as_owner.get(form_url(done)).content.decode()
    assert "a copy was handed over for training on" in page
    assert "it never will be" not in page
    withdraw = reverse("media_analysis:withdraw_consent", args=[done.public_id])
    page = as_owner.post(withdraw, follow=True).content.decode()
    assert "You withdrew your permission after a copy had been handed over" in page
    assert not feedback.hand_over([given.pk])


@pytest.mark.parametrize("said", [{}, {"opinion": "maybe"}, {"opinion": "agree", "comment": "x" * 2001}])
def test_a_wrong_form_comes_back_and_nothing_is_kept(done: Analysis, as_owner: Client, said: dict[str, str]) -> None:
    answer = as_owner.post(form_url(done), said)
    assert answer.status_code == 400
    assert "errorlist" in answer.content.decode()
    assert not Feedback.objects.exists()


@pytest.mark.parametrize("status", ["queued", "running", "failed"])
def test_there_is_nothing_to_say_before_a_result(owner: User, as_owner: Client, status: str) -> None:
    analysis = make_analysis(owner, status=status)
    assert as_owner.get(form_url(analysis)).status_code == 409
    assert as_owner.post(form_url(analysis), {"opinion": "agree"}).status_code == 409
    answer = as_owner.put(api_url(analysis), {"opinion": "agree"}, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]) == (409, Code.NOT_FINISHED)
    assert not Feedback.objects.exists()


def test_the_api_gives_changes_and_tells(done: Analysis, as_owner: Client) -> None:
    assert as_owner.get(api_url(done)).status_code == 404
    body = {"opinion": "disagree", "comment": "staged", "consent": True}
    first = as_owner.put(api_url(done), body, content_type="application/json").json()
    assert (first["opinion"], first["comment"], first["consent"], first["exported_at"]) == (*body.values(), None)
    assert as_owner.get(api_url(done)).json() == first
    second = as_owner.put(api_url(done), {"opinion": "agree"}, content_type="application/json").json()
    assert (second["opinion"], second["consent"], second["consent_at"]) == ("agree", False, None)
    assert Feedback.objects.count() == 1


@pytest.mark.parametrize("body", [{}, {"opinion": "perhaps"}, {"opinion": "agree", "consent": "soon"}])
def test_the_api_names_the_wrong_field(done: Analysis, as_owner: Client, body: dict[str, str]) -> None:
    answer = as_owner.put(api_url(done), body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]) == (400, Code.INVALID_FIELD)
    assert answer.json()["errors"]
    assert not Feedback.objects.exists()


def test_a_stranger_and_nobody_get_nowhere(done: Analysis, as_stranger: Client, client: Client) -> None:
    make_feedback(done)
    for url in (form_url(done), reverse("media_analysis:withdraw_consent", args=[done.public_id])):
        assert as_stranger.post(url, {"opinion": "agree"}).status_code == 404
        assert client.post(url, {"opinion": "agree"}).status_code == 302
    assert as_stranger.get(api_url(done)).status_code == 404
    assert as_stranger.put(api_url(done), {"opinion": "agree"}, content_type="application/json").status_code == 404
    assert client.get(api_url(done)).status_code == 401
    given = Feedback.objects.get()
    assert given.opinion == DISAGREE
    assert given.consent_at is not None


def test_without_the_csrf_token_nothing_is_taken(done: Analysis, owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    assert client.post(form_url(done), {"opinion": "agree"}).status_code == 403
    assert client.put(api_url(done), {"opinion": "agree"}, content_type="application/json").status_code == 403
    assert not Feedback.objects.exists()


def test_changing_too_often_is_refused_until_tomorrow_but_withdrawing_never(
    done: Analysis, owner: User, as_owner: Client
) -> None:
    for number in range(feedback.CHANGES_A_DAY):
        feedback.give_feedback(user=owner, analysis=done, opinion=AGREE, comment=str(number), consent=True)
    body = {"opinion": "disagree", "consent": True}
    answer = as_owner.put(api_url(done), body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]) == (429, Code.TOO_OFTEN)
    with pytest.raises(SentinelError):
        feedback.give_feedback(user=owner, analysis=done, opinion=DISAGREE)
    given = Feedback.objects.get()
    assert (given.opinion, given.consent_at) == (AGREE, None)
    Feedback.objects.update(changed_on=timezone.now().date() - timedelta(days=2))
    assert as_owner.put(api_url(done), body, content_type="application/json").status_code == 200


def test_another_opinion_is_reviewed_anew_and_another_comment_is_not(done: Analysis, owner: User, admin: User) -> None:
    make_feedback(done, reviewer=admin, decision=Review.FAKE, method=Method.FACE_SWAP)
    feedback.give_feedback(user=owner, analysis=done, opinion=DISAGREE, comment="more", consent=True)
    assert Feedback.objects.get().review == Review.FAKE
    feedback.give_feedback(user=owner, analysis=done, opinion=AGREE, consent=True)
    given = Feedback.objects.get()
    assert (given.review, given.fake_method, given.reviewed_by, given.reviewed_at) == (Review.WAITING, "", None, None)


def test_feedback_goes_with_the_file(done: Analysis) -> None:
    make_feedback(done)
    services.delete_media(done.media)
    assert not Feedback.objects.exists()


def test_a_fake_has_a_method_and_nothing_else_has(done: Analysis, admin: User) -> None:
    given = make_feedback(done)
    with pytest.raises(ValueError, match="method"):
        feedback.review_feedback(given, reviewer=admin, decision=Review.FAKE)
    with pytest.raises(ValueError, match="method"):
        feedback.review_feedback(given, reviewer=admin, decision=Review.REAL, method=Method.LIP_SYNC)


def test_the_queue_shows_disagreements_that_may_be_looked_at(owner: User, as_reviewer: Client) -> None:
    waiting = make_feedback(make_done(owner))
    agreed = make_feedback(make_done(owner), opinion=AGREE)
    unseen = make_feedback(make_done(owner), consent=False)

    def listed(**asked: str) -> set[int]:
        return {row.pk for row in as_reviewer.get(change_list(**asked)).context["cl"].result_list}

    assert listed() == {waiting.pk}
    assert listed(queue="agreements") == {agreed.pk}
    assert listed(queue="unseen") == {unseen.pk}
    assert listed(queue="all") == {waiting.pk, agreed.pk, unseen.pk}
    page = as_reviewer.get(change_list()).content.decode()
    assert "Signs of manipulation found" in page
    assert "0.910 / 0.910" in page
    assert owner.username not in page


@pytest.mark.parametrize(
    ("action", "method", "review"),
    [
        ("confirm_as_real", "", Review.REAL),
        ("confirm_as_fake", "lip_sync", Review.FAKE),
        ("reject", "", Review.REJECTED),
    ],
)
def test_reviewers_decide_and_it_is_written_down(
    *, done: Analysis, reviewer: User, as_reviewer: Client, action: str, method: str, review: str
) -> None:
    given = make_feedback(done)
    as_reviewer.post(change_list(), {"action": action, "method": method, "_selected_action": [given.pk]})
    given.refresh_from_db()
    assert (given.review, given.fake_method, given.reviewed_by) == (review, method, reviewer)
    assert given.reviewed_at is not None
    assert LogEntry.objects.get().user == reviewer


def test_a_fake_without_a_method_is_not_confirmed(done: Analysis, as_reviewer: Client) -> None:
    given = make_feedback(done)
    answer = as_reviewer.post(
        change_list(), {"action": "confirm_as_fake", "method": "", "_selected_action": [given.pk]}, follow=True
    )
    assert "Choose the method of the fake first" in answer.content.decode()
    given.refresh_from_db()
    assert given.review == Review.WAITING


def test_without_consent_nothing_is_confirmed_and_nothing_shown(done: Analysis, as_reviewer: Client) -> None:
    Analysis.objects.update(evidence=["analyses/x/y/frame-9.jpg"])
    given = make_feedback(done, consent=False)
    page = as_reviewer.get(reverse("admin:media_analysis_feedback_change", args=[given.pk])).content.decode()
    assert "nobody but the owner may see it" in page
    assert "frame-9.jpg" not in page
    for url in (
        reverse("admin:media_analysis_feedback_file", args=[given.pk]),
        reverse("admin:media_analysis_feedback_evidence", args=[given.pk, "frame-9.jpg"]),
    ):
        assert as_reviewer.get(url).status_code == 404
    as_reviewer.post(change_list(queue="all"), {"action": "confirm_as_real", "_selected_action": [given.pk]})
    given.refresh_from_db()
    assert given.review == Review.WAITING


def test_reviewers_see_the_evidence_and_take_the_file(owner: User, reviewer: User, as_reviewer: Client) -> None:
    claimed = services.claim_analysis(make_analysis(owner).pk)
    assert claimed is not None
    services.finish_analysis(claimed, a_result(), {"frame-9.jpg": b"frame"})
    given = make_feedback(Analysis.objects.get())
    page = as_reviewer.get(reverse("admin:media_analysis_feedback_change", args=[given.pk])).content.decode()
    picture = reverse("admin:media_analysis_feedback_evidence", args=[given.pk, "frame-9.jpg"])
    assert picture in page
    assert "Confirm as fake" in page
    assert as_reviewer.get(picture).content == b"frame"

    client = AsyncClient()
    client.force_login(reviewer, backend="accounts.backends.UsernameOrEmailBackend")

    async def take() -> tuple[Any, bytes]:
        answer: Any = await client.get(reverse("admin:media_analysis_feedback_file", args=[given.pk]))
        return answer, b"".join([piece async for piece in answer.streaming_content])

    answer, content = asyncio.run(take())
    assert content == b"bytes"
    assert answer["Content-Disposition"].startswith("attachment")
    assert LogEntry.objects.get().user == reviewer


def test_staff_without_the_right_to_review_can_only_read_the_list(done: Analysis, reviewer: User) -> None:
    reviewer.user_permissions.set(Permission.objects.filter(codename="view_feedback"))
    given = make_feedback(done)
    client = Client()
    client.force_login(reviewer, backend="accounts.backends.UsernameOrEmailBackend")
    assert client.get(change_list()).status_code == 200
    client.post(change_list(), {"action": "confirm_as_real", "_selected_action": [given.pk]})
    given.refresh_from_db()
    assert given.review == Review.WAITING
    assert client.get(reverse("admin:media_analysis_feedback_file", args=[given.pk])).status_code == 403
    reviewer.user_permissions.clear()
    assert client.get(change_list()).status_code == 403


def test_not_even_a_superuser_can_give_consent(done: Analysis, as_admin: Client) -> None:
    given = make_feedback(done, consent=False)
    change = reverse("admin:media_analysis_feedback_change", args=[given.pk])
    assert as_admin.post(change, {"consent_at_0": "2026-01-01", "consent_at_1": "00:00"}).status_code == 403
    assert as_admin.get(reverse("admin:media_analysis_feedback_add")).status_code == 403
    for action in ("confirm_as_real", "reject"):
        as_admin.post(change_list(queue="all"), {"action": action, "_selected_action": [given.pk]})
    given.refresh_from_db()
    assert given.consent_at is None
