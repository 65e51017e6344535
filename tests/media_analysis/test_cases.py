"""Cases: who may do what in them, what their members see, and what is written down of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import services as accounts
from accounts import tokens
from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import cases, custody, selectors, services
from media_analysis.account_deletion import erase_closed_accounts
from media_analysis.custody import Event, What
from media_analysis.models import Analysis, Case, CaseInvitation, CaseMember, CaseNote, CaseRole, DeletionReceipt, Media
from tests.conftest import make_user
from tests.media_analysis.factories import make_analysis, make_done, make_media
from tests.media_factory import make_image

pytestmark = pytest.mark.django_db


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="accounts.backends.UsernameOrEmailBackend")
    return client


def seat(user: User, case: Case) -> cases.Seat:
    return cases.take_seat(user, case.public_id)


def join(case: Case, user: User, role: CaseRole) -> None:
    cases.accept_invitation(user, cases.invite(seat(case.owner, case), user.get_username(), role).public_id)


@pytest.fixture
def case(owner: User) -> Case:
    return cases.open_case(owner, "State v. X", {"fir_id": "FIR 12/2026"})


@pytest.fixture
def examiner(case: Case) -> User:
    user = make_user("examiner")
    join(case, user, CaseRole.EXAMINER)
    return user


@pytest.fixture
def viewer(case: Case) -> User:
    user = make_user("viewer")
    join(case, user, CaseRole.VIEWER)
    return user


@pytest.fixture
def done(case: Case, owner: User) -> Analysis:
    """A finished analysis of the owner, in the case."""
    analysis = make_done(owner)
    cases.add_media(seat(owner, case), [analysis.media.public_id])
    return analysis


def refused(code: Code, act: Any, *given: Any, **named: Any) -> None:
    with pytest.raises(SentinelError) as error:
        act(*given, **named)
    assert error.value.code == code


def test_a_case_is_opened_and_edited_on_its_pages(as_owner: Client, owner: User) -> None:
    answer = as_owner.post(reverse("media_analysis:case_new"), {"title": "", "fir_date": "x"})
    assert answer.status_code == 400
    as_owner.post(
        reverse("media_analysis:case_new"), {"title": " A  case ", "fir_date": "22/11/2026", "station": "Kondhwa"}
    )
    case = Case.objects.get()
    assert (case.title, str(case.fir_date), case.station, case.owner) == ("A  case", "2026-11-22", "Kondhwa", owner)
    edit = reverse("media_analysis:case_edit", args=[case.public_id])
    assert 'value="2026-11-22"' in as_owner.get(edit).content.decode()
    as_owner.post(edit, {"title": "Another", "station": ""})
    case.refresh_from_db()
    assert (case.title, case.fir_date, case.station) == ("Another", None, "")
    assert "Another" in as_owner.get(reverse("media_analysis:cases")).content.decode()


def test_roles_may_do_what_they_are_for(case: Case, owner: User, examiner: User, viewer: User) -> None:
    for user, write, manage in ((owner, True, True), (examiner, True, False), (viewer, False, False)):
        client = client_of(user)
        case_id = case.public_id
        note = client.post(reverse("media_analysis:case_notes", args=[case_id]), {"text": "Seen."})
        assert note.status_code == (302 if write else 403)
        assert client.get(reverse("media_analysis:case_files", args=[case_id])).status_code == (200 if write else 403)
        invite = client.post(reverse("media_analysis:case_invite", args=[case_id]), {"who": "x", "role": "viewer"})
        assert invite.status_code == (302 if manage else 403)
        assert client.get(reverse("media_analysis:case_edit", args=[case_id])).status_code == (200 if manage else 403)
        assert client.get(reverse("media_analysis:case_delete", args=[case_id])).status_code == (200 if manage else 403)
        role = reverse("media_analysis:case_role", args=[case_id, viewer.public_id])
        assert client.post(role, {"role": "viewer"}).status_code == (302 if manage else 403)
        assert client.post(reverse("media_analysis:case_close", args=[case_id])).status_code == (302 if manage else 403)
        assert client.post(reverse("media_analysis:case_reopen", args=[case_id])).status_code == (
            302 if manage else 403
        )
        assert client.get(reverse("media_analysis:case", args=[case_id])).status_code == 200
    assert CaseNote.objects.count() == 2
    # Everybody may go, but the owner.
    refused(Code.FORBIDDEN, cases.remove_member, seat(owner, case), owner.public_id)
    refused(Code.FORBIDDEN, cases.remove_member, seat(viewer, case), examiner.public_id)
    cases.remove_member(seat(viewer, case), viewer.public_id)
    refused(Code.NOT_FOUND, cases.take_seat, viewer, case.public_id)


def test_nothing_changes_in_a_closed_case(case: Case, owner: User, done: Analysis, examiner: User) -> None:
    other, late = make_media(examiner), make_user("late")
    invitation = cases.invite(seat(owner, case), "late", CaseRole.VIEWER)
    cases.set_status(seat(owner, case), Case.Status.CLOSED)
    # Nobody joins who would see files that were shared with others.
    refused(Code.CASE_CLOSED, cases.accept_invitation, late, invitation.public_id)
    refused(Code.NOT_FOUND, cases.take_seat, late, case.public_id)
    client = client_of(examiner)
    assert client.post(reverse("media_analysis:case_notes", args=[case.public_id]), {"text": "x"}).status_code == 409
    add = reverse("media_analysis:case_files", args=[case.public_id])
    assert client.post(add, {"media": other.public_id}).status_code == 409
    page = client.get(reverse("media_analysis:case", args=[case.public_id])).content.decode()
    assert "This case is closed" in page
    assert done.media.original_name in page
    # Their own file stays theirs.
    cases.remove_media(owner, case.public_id, done.media.public_id)


@pytest.mark.parametrize("status", ["queued", "running", "failed"])
def test_while_a_file_is_examined_again_its_result_stands(
    case: Case, owner: User, done: Analysis, as_owner: Client, status: str
) -> None:
    again = make_analysis(owner, media=done.media, spent=False, status=status, priority=Analysis.Priority.AGAIN)

    def shown() -> str:
        (file,) = cases.show_files(list(cases.files_of(case)))
        assert file.analysis is not None
        return file.analysis.public_id

    assert shown() == done.public_id
    Analysis.objects.filter(pk=again.pk).update(status="done")
    assert shown() == again.public_id


def test_nobody_joins_a_closed_case(case: Case, owner: User, stranger: User, as_stranger: Client) -> None:
    invited = cases.invite(seat(owner, case), "stranger", CaseRole.VIEWER)
    cases.set_status(seat(owner, case), Case.Status.CLOSED)
    assert as_stranger.post(reverse("media_analysis:case_accept", args=[invited.public_id])).status_code == 409
    assert as_stranger.post(f"/api/v1/case-invitations/{invited.public_id}/accept/").json()["error"] == "case_closed"
    assert CaseMember.objects.filter(case=case).count() == 1
    # Reopened, it still waits.
    cases.set_status(seat(owner, case), Case.Status.OPEN)
    cases.accept_invitation(stranger, invited.public_id)


STRANGE = [
    ("get", "case"),
    ("get", "case_edit"),
    ("get", "case_delete"),
    ("post", "case_close"),
    ("post", "case_reopen"),
    ("get", "case_files"),
    ("post", "case_files"),
    ("post", "case_notes"),
    ("post", "case_invite"),
]


@pytest.mark.parametrize(("method", "name"), STRANGE)
def test_a_strangers_case_cannot_be_told_from_none(case: Case, as_stranger: Client, method: str, name: str) -> None:
    for public_id in (case.public_id, "0" * 24):
        answer: Any = getattr(as_stranger, method)(reverse(f"media_analysis:{name}", args=[public_id]))
        assert answer.status_code == 404


def member_paths(analysis: Analysis) -> dict[str, int]:
    """What a member of a case asks for of a file of somebody else, with the answers they get."""
    media = analysis.media.public_id
    return {
        f"get /analyses/{analysis.public_id}/": 200,
        f"get /media/{media}/custody/": 200,
        f"get /api/v1/analyses/{analysis.public_id}/": 200,
        f"get /api/v1/analyses/{analysis.public_id}/progress/": 200,
        f"get /api/v1/analyses/{analysis.public_id}/pictures/": 200,
        f"get /media/{media}/delete/": 403,
        f"post /media/{media}/delete/": 403,
        f"post /analyses/{analysis.public_id}/retry/": 403,
        f"get /analyses/{analysis.public_id}/feedback/": 403,
        f"post /analyses/{analysis.public_id}/feedback/": 403,
        f"post /analyses/{analysis.public_id}/feedback/withdraw/": 403,
        f"get /api/v1/analyses/{analysis.public_id}/feedback/": 403,
        f"put /api/v1/analyses/{analysis.public_id}/feedback/": 403,
        f"post /api/v1/analyses/{analysis.public_id}/retry/": 403,
        f"delete /api/v1/analyses/{analysis.public_id}/": 403,
    }


def test_members_look_and_only_the_owner_of_a_file_acts_on_it(
    case: Case, done: Analysis, examiner: User, viewer: User, stranger: User
) -> None:
    for user in (examiner, viewer, stranger):
        client = client_of(user)
        for asked, expected in member_paths(done).items():
            method, path = asked.split()
            answer: Any = getattr(client, method)(path)
            assert answer.status_code == (404 if user == stranger else expected), asked
    cases.remove_member(seat(case.owner, case), viewer.public_id)
    assert client_of(viewer).get(reverse("reports:result", args=[done.public_id])).status_code == 404


def test_lists_and_the_phone_apps_hold_own_files_only(done: Analysis, examiner: User) -> None:
    client = client_of(examiner)
    assert done.public_id not in client.get(reverse("media_analysis:history")).content.decode()
    assert client.get("/api/v1/analyses/").json()["count"] == 0
    app = Client(headers={"Authorization": f"Bearer {tokens.log_in(examiner).access}"})
    media_id = done.media.public_id
    assert app.post("/fetch-history").json()["vdata"] == []
    assert app.get(f"/pdf?videoId={media_id}").status_code == 403
    assert app.post("/remove", {"videoId": media_id}).status_code == 403
    refused(Code.NOT_FOUND, selectors.get_analysis, make_user("nobody"), done.public_id)


def test_every_look_of_a_member_is_in_the_custody_log(
    case: Case, done: Analysis, viewer: User, as_owner: Client
) -> None:
    media_id = done.media.public_id
    client_of(viewer).get(reverse("media_analysis:case", args=[case.public_id]), REMOTE_ADDR="192.0.2.7")
    client_of(viewer).get(reverse("reports:result", args=[done.public_id]), REMOTE_ADDR="192.0.2.8")
    events = [(event.event, event.details["what"], event.actor) for event in custody.events_of(media_id)]
    assert events[-2:] == [(Event.VIEWED, What.CASE, viewer.public_id), (Event.VIEWED, What.PAGE, viewer.public_id)]
    log = reverse("media_analysis:custody", args=[media_id])
    theirs, owners = client_of(viewer).get(log).content.decode(), as_owner.get(log).content.decode()
    assert "192.0.2.8" in owners
    assert "192.0.2" not in theirs
    assert "Result shown in a case" in theirs
    assert not custody.check(custody.events_of(media_id))


def test_putting_in_joining_leaving_and_taking_out_are_in_the_log(case: Case, done: Analysis, owner: User) -> None:
    user = make_user("late")
    join(case, user, CaseRole.VIEWER)
    cases.remove_member(seat(user, case), user.public_id)
    cases.remove_media(owner, case.public_id, done.media.public_id)
    assert [(event.event, event.details["what"]) for event in custody.events_of(done.media.public_id)] == [
        (Event.SHARED, "case"),
        (Event.SHARED, "member"),
        (Event.WITHDRAWN, "member"),
        (Event.WITHDRAWN, "case"),
    ]


def test_only_own_files_can_be_added_and_all_or_none(case: Case, owner: User, examiner: User) -> None:
    own, theirs = make_media(examiner), make_media(owner)
    refused(Code.NOT_FOUND, cases.add_media, seat(examiner, case), [own.public_id, theirs.public_id])
    for strange in ("\0", "x", "0" * 24, f"{own.public_id}\n"):
        refused(Code.NOT_FOUND, cases.add_media, seat(examiner, case), [strange])
    refused(Code.INVALID_FIELD, cases.add_media, seat(examiner, case), [str(number) for number in range(501)])
    assert not case.files.exists()
    assert cases.add_media(seat(examiner, case), [own.public_id, own.public_id]) == 1
    assert cases.add_media(seat(examiner, case), [own.public_id]) == 0


def test_who_takes_a_file_out(case: Case, owner: User, examiner: User, viewer: User, stranger: User) -> None:
    ours, theirs = make_media(owner), make_media(examiner)
    cases.add_media(seat(owner, case), [ours.public_id])
    cases.add_media(seat(examiner, case), [theirs.public_id])
    refused(Code.NOT_FOUND, cases.remove_media, stranger, case.public_id, ours.public_id)
    refused(Code.FORBIDDEN, cases.remove_media, viewer, case.public_id, ours.public_id)
    refused(Code.FORBIDDEN, cases.remove_media, examiner, case.public_id, ours.public_id)
    # Who left takes along what is theirs, if they want.
    cases.remove_member(seat(examiner, case), examiner.public_id)
    cases.remove_media(examiner, case.public_id, theirs.public_id)
    refused(Code.NOT_FOUND, cases.remove_media, examiner, case.public_id, ours.public_id)


def test_a_deleted_file_leaves_its_line(case: Case, done: Analysis, owner: User, as_owner: Client) -> None:
    services.delete_media(done.media, actor=owner)
    assert DeletionReceipt.objects.exists()
    page = as_owner.get(reverse("media_analysis:case", args=[case.public_id])).content.decode()
    assert "Deleted file" in page
    assert "a" * 64 in page
    assert "clip.mp4" not in page


def test_an_invitation_says_nothing_of_whether_there_is_an_account(
    case: Case, as_owner: Client, stranger: User
) -> None:
    url = reverse("media_analysis:case_invite", args=[case.public_id])
    pages = []
    for who in ("stranger", "stranger@example.org", "STRANGER@example.org", "nobody", "nobody@example.org"):
        answer: Any = as_owner.post(url, {"who": who, "role": "viewer"}, follow=True)
        pages.append(answer.content.decode().count("not accepted yet"))
        assert "waits to be accepted" in answer.content.decode()
    # Asked twice by the same address is one.
    assert pages == [1, 2, 2, 3, 4]
    # Whoever signs up as that later was not meant.
    assert not cases.invitations_to(make_user("nobody")).exists()
    assert cases.invitations_to(stranger).count() == 2
    first, second = cases.invitations_to(stranger)
    cases.accept_invitation(stranger, first.public_id)
    # By the other name nothing more happens, and the owner is not told that it is the same person.
    cases.accept_invitation(stranger, second.public_id)
    assert CaseMember.objects.filter(user=stranger).count() == 1


def test_a_name_that_is_somebody_elses_address_gets_nothing_meant_for_it(case: Case, owner: User) -> None:
    make_user("real")
    User.objects.filter(username="real").update(email="chief@example.org")
    impostor = User.objects.create_user("chief@example.org", "impostor@example.org")
    cases.invite(seat(owner, case), "chief@example.org", CaseRole.VIEWER)
    assert not cases.invitations_to(impostor).exists()


def test_an_invitation_is_for_one_person(case: Case, owner: User, stranger: User, as_stranger: Client) -> None:
    made = cases.invite(seat(owner, case), "stranger", CaseRole.EXAMINER)
    other = make_user("other")
    refused(Code.NOT_FOUND, cases.accept_invitation, other, made.public_id)
    assert "State v. X" in as_stranger.get(reverse("media_analysis:cases")).content.decode()
    assert as_stranger.get(reverse("media_analysis:case", args=[case.public_id])).status_code == 404
    as_stranger.post(reverse("media_analysis:case_accept", args=[made.public_id]))
    assert seat(stranger, case).role == CaseRole.EXAMINER
    refused(Code.NOT_FOUND, cases.accept_invitation, stranger, made.public_id)
    again = cases.invite(seat(owner, case), "other", CaseRole.VIEWER)
    client_of(other).post(reverse("media_analysis:case_decline", args=[again.public_id]))
    assert not CaseInvitation.objects.exists()


def test_invitations_are_limited(case: Case, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "MAX_INVITATIONS", 2)
    for who in ("a", "b", "b"):
        cases.invite(seat(owner, case), who, CaseRole.VIEWER)
    refused(Code.INVALID_FIELD, cases.invite, seat(owner, case), "c", CaseRole.VIEWER)
    refused(Code.INVALID_FIELD, cases.invite, seat(owner, case), "owner", CaseRole.VIEWER)
    refused(Code.INVALID_FIELD, cases.invite, seat(owner, case), "d", CaseRole.OWNER)


def test_a_deleted_account_leaves_its_notes_without_a_name(case: Case, owner: User, examiner: User) -> None:
    cases.add_note(seat(examiner, case), "<b>Seen</b>\nagain")
    media = make_media(examiner)
    cases.add_media(seat(examiner, case), [media.public_id])
    accounts.close_account(examiner)
    assert erase_closed_accounts() == 1
    page = client_of(owner).get(reverse("media_analysis:case", args=[case.public_id])).content.decode()
    assert "deleted account" in page
    assert "&lt;b&gt;Seen&lt;/b&gt;<br>again" in page
    assert "Deleted file" in page
    assert not custody.check(custody.events_of(media.public_id))


def test_a_case_goes_with_its_owner_and_the_files_of_others_stay(case: Case, owner: User, examiner: User) -> None:
    media = make_media(examiner)
    cases.add_media(seat(examiner, case), [media.public_id])
    accounts.close_account(owner)
    assert erase_closed_accounts() == 1
    assert not Case.objects.exists()
    assert selectors.get_own_media(examiner, media.public_id) == media
    last = custody.events_of(media.public_id).last()
    assert last is not None
    assert (last.event, last.details["what"]) == (Event.WITHDRAWN, "case")


def test_pages_cost_the_same_number_of_queries_however_much_there_is(case: Case, owner: User, viewer: User) -> None:
    client = client_of(viewer)

    def fill(count: int) -> None:
        for number in range(count):
            analysis = make_done(owner)
            cases.add_media(seat(owner, case), [analysis.media.public_id])
            cases.add_note(seat(owner, case), f"Note {number}")
        services.delete_media(make_in_case(case, owner))

    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    paths = (reverse("media_analysis:case", args=[case.public_id]), reverse("media_analysis:cases"))
    fill(2)
    few = [queries(path) for path in paths]
    fill(20)
    for number in range(5):
        join(cases.open_case(owner, f"Case {number}", {}), viewer, CaseRole.VIEWER)
    assert [queries(path) for path in paths] == few
    assert max(few) <= 24


def make_in_case(case: Case, owner: User) -> Any:
    media = make_analysis(owner, spent=False).media
    cases.add_media(seat(owner, case), [media.public_id])
    return media


def submit_photo(client: Client, photo: Path, **fields: str) -> Any:
    with photo.open("rb") as file:
        return client.post("/analyses/new/", {"file": file, **fields})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return make_image(tmp_path / "photo.png")


def test_the_files_of_a_case_are_shown_newest_first(
    case: Case, owner: User, as_owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_analysis.case_views.FILES_PAGE_SIZE", 1)
    for name in ("first.mp4", "second.mp4"):
        added = make_media(owner, original_name=name)
        cases.add_media(seat(owner, case), [added.public_id])
    page = as_owner.get(reverse("media_analysis:case", args=[case.public_id]))
    assert [file.media.original_name for file in page.context["files"]] == ["second.mp4"]
    assert "Older" in page.content.decode()


def test_a_new_file_goes_straight_into_a_case(case: Case, owner: User, as_owner: Client, photo: Path) -> None:
    page = as_owner.get(f"/analyses/new/?case={case.public_id}").content.decode()
    assert f'<option value="{case.public_id}" selected>' in page

    answer = submit_photo(as_owner, photo, add_to_case=case.public_id)

    assert answer.status_code == 302, answer.content.decode()
    line = cases.files_of(case).get()
    assert line.media is not None
    assert line.media.analyses.get().public_id in answer["Location"]

    with photo.open("rb") as file:
        again = as_owner.post("/api/v1/analyses/", {"file": file, "add_to_case": case.public_id})
    assert again.status_code == 201, again.json()
    assert cases.files_of(case).count() == 2


@pytest.mark.parametrize("role", [CaseRole.VIEWER, None])
def test_a_file_goes_into_no_case_that_takes_none_and_is_not_accepted_then(
    case: Case, examiner: User, role: CaseRole | None, photo: Path
) -> None:
    CaseMember.objects.filter(user=examiner).delete()
    if role:
        join(case, examiner, role)
    client = client_of(examiner)
    page = client.get(f"/analyses/new/?case={case.public_id}").content.decode()
    assert f'<option value="{case.public_id}"' not in page

    answer = submit_photo(client, photo, add_to_case=case.public_id)

    assert answer.status_code == 400
    assert "no open case of this name" in answer.content.decode()
    with photo.open("rb") as file:
        again = client.post("/api/v1/analyses/", {"file": file, "add_to_case": case.public_id})
    assert (again.status_code, list(again.json()["errors"])) == (400, ["add_to_case"])
    assert not Media.objects.filter(owner=examiner).exists()
