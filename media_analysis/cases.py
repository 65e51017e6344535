"""Cases: folders for the files of one police case, which named colleagues look into by role.

The owner may do everything; an examiner adds files of their own and notes; a viewer looks and downloads. Putting a file
into a case shows it to all its members, which is written into the file's custody log, as is everybody's joining and
leaving. What may be done with the file itself stays with the file's owner.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, F, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.errors import Code, SentinelError
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.models import User
from accounts.names import key_of
from accounts.texts import clean_text
from media_analysis import custody, selectors
from media_analysis.case_details import FIELDS
from media_analysis.custody import Event
from media_analysis.models import (
    Analysis,
    Case,
    CaseInvitation,
    CaseMedia,
    CaseMember,
    CaseNote,
    CaseRole,
    CustodyEvent,
    Media,
)

MAX_FILES = 500
MAX_NOTES = 1000
MAX_MEMBERS = 50
# Unanswered, of one case and of all cases of one owner: inviting is no way to send letters to strangers.
MAX_INVITATIONS = 20
MAX_INVITATIONS_OF_OWNER = 100
MAX_NOTE_LENGTH = 10_000
RANKS = {CaseRole.VIEWER: 0, CaseRole.EXAMINER: 1, CaseRole.OWNER: 2}
# What somebody can be invited as: a case has one owner.
ROLES = (CaseRole.EXAMINER, CaseRole.VIEWER)


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody's place in a case: whoever has one is a member."""

    case: Case
    user: User
    role: CaseRole

    @property
    def is_owner(self) -> bool:
        return self.role == CaseRole.OWNER

    @property
    def may_write(self) -> bool:
        """Add files and notes, in a case that is open."""
        return self.case.is_open and RANKS[self.role] >= RANKS[CaseRole.EXAMINER]

    @property
    def may_manage(self) -> bool:
        """Change the case's fields and members, while it is open."""
        return self.case.is_open and self.is_owner


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A file in a case with its latest analysis, by :func:`selectors.standing`. Of a deleted one there is only
    ``line``, and when it was deleted.
    """

    line: CaseMedia
    # Empty of a file behind a link that is not fetched yet.
    sha256: str
    media: Media | None
    analysis: Analysis | None
    deleted_at: datetime | None


def seats_of(user: User) -> QuerySet[Case]:
    """The cases that somebody is a member of, last changed first, each with ``role`` and ``file_count``."""
    files = CaseMedia.objects.filter(case=OuterRef("pk")).order_by().values("case").annotate(count=Count("pk"))
    return (
        Case.objects.filter(members__user=user)
        .annotate(role=F("members__role"), file_count=Coalesce(Subquery(files.values("count")), 0))
        .select_related("owner")
        .order_by("-updated_at", "-id")
    )


def take_seat(user: User, public_id: str, at_least: CaseRole = CaseRole.VIEWER, *, to_change: bool = False) -> Seat:
    """Raises ``not_found`` for a case of others exactly as for one that never was, ``forbidden`` for a member of a
    lower role, and ``case_closed`` `to_change` anything in a closed case.
    """
    member = CaseMember.objects.select_related("case__owner").filter(user=user, case__public_id=public_id).first()
    if member is None:
        raise SentinelError(Code.NOT_FOUND)
    if RANKS[CaseRole(member.role)] < RANKS[at_least]:
        raise SentinelError(Code.FORBIDDEN)
    if to_change and not member.case.is_open:
        raise SentinelError(Code.CASE_CLOSED)
    return Seat(member.case, user, CaseRole(member.role))


def cases_to_fill(user: User) -> QuerySet[Case]:
    """The open cases that somebody may put files into, last changed first."""
    roles = [role for role in CaseRole if RANKS[role] >= RANKS[CaseRole.EXAMINER]]
    seats = Case.objects.filter(members__user=user, members__role__in=roles)
    return seats.filter(status=Case.Status.OPEN).order_by("-updated_at", "-id")


def seat_for_file(user: User, public_id: str) -> Seat | None:
    """Where a file that is about to come is to go; None without an id.

    Raises ``invalid_field``, with the reason under ``add_to_case``, for a case that takes no file of theirs.
    """
    if not public_id:
        return None
    try:
        seat = take_seat(user, public_id, CaseRole.EXAMINER, to_change=True)
    except SentinelError as error:
        raise _wrong("add_to_case", _("You have no open case of this name that you may add files to.")) from error
    if CaseMedia.objects.filter(case=seat.case).count() >= MAX_FILES:
        raise _wrong("add_to_case", _("A case holds at most %(count)s files."), count=MAX_FILES)
    return seat


def open_case(owner: User, title: str, fields: Mapping[str, Any]) -> Case:
    """`fields` are those of :data:`media_analysis.case_details.FIELDS`, cleaned."""
    with transaction.atomic():
        case = Case.objects.create(owner=owner, title=title, **fields)
        CaseMember.objects.create(case=case, user=owner, role=CaseRole.OWNER)
    return case


def change_case(seat: Seat, fields: Mapping[str, Any]) -> None:
    """Change its title and details: those of `fields`, cleaned."""
    wanted = {name: fields[name] for name in ("title", *FIELDS) if name in fields}
    Case.objects.filter(pk=seat.case.pk).update(**wanted, updated_at=timezone.now())
    seat.case.refresh_from_db()


def set_status(seat: Seat, status: Case.Status) -> None:
    Case.objects.filter(pk=seat.case.pk).update(status=status, updated_at=timezone.now())
    seat.case.refresh_from_db()


def delete_case(seat: Seat) -> None:
    """Delete a case with its notes. The files in it stay with their owners."""
    with transaction.atomic():
        _record_all(seat.case, Event.WITHDRAWN, actor=seat.user, what="case")
        seat.case.delete()


def files_of(case: Case, *, with_results: bool = False) -> QuerySet[CaseMedia]:
    """In the order in which they came; `with_results`, everything that was found in them too."""
    analyses = selectors.standing(Analysis.objects.order_by("created_at", "id"))
    shown = analyses.select_related("media__owner") if with_results else analyses.defer("result", "evidence")
    return (
        CaseMedia.objects.filter(case=case)
        .select_related("media__owner", "added_by")
        .prefetch_related(Prefetch("media__analyses", shown))
    )


def show_files(lines: Collection[CaseMedia]) -> list[CaseFile]:
    """The same with what is to be shown of them, for one more query."""
    gone = {line.media_public_id for line in lines if line.media is None or line.media.deleted_at}
    deleted = {}
    if gone:
        deletions = CustodyEvent.objects.filter(media_id__in=gone, event=Event.DELETED)
        deleted = {event.media_id: event for event in deletions}
    shown = []
    for line in lines:
        if line.media_public_id in gone:
            event = deleted.get(line.media_public_id)
            sha256 = str(event.details.get("sha256", "")) if event else ""
            shown.append(CaseFile(line, sha256 or line.sha256, None, None, event.at if event else None))
        elif line.media:
            analyses = list(line.media.analyses.all())
            shown.append(CaseFile(line, line.media.sha256, line.media, analyses[-1] if analyses else None, None))
    return shown


def look_at_files(files: Collection[CaseFile], *, actor: User) -> None:
    """Note that somebody is shown what was found in these files."""
    results = {
        file.media.public_id: file.analysis.public_id
        for file in files
        if file.media and file.analysis and file.analysis.is_finished
    }
    custody.look(results, actor=actor, what=custody.What.CASE)


def own_files_outside(seat: Seat) -> QuerySet[Media]:
    """What somebody could add, newest first."""
    inside = CaseMedia.objects.filter(case=seat.case).values("media_public_id")
    return Media.objects.filter(owner=seat.user, deleted_at__isnull=True).exclude(public_id__in=inside)


def add_media(seat: Seat, media_ids: Collection[str]) -> int:
    """Put files of one's own into a case; returns how many were not in it before.

    Raises ``not_found`` if one of them is not theirs: then none is added. Raises ``invalid_field`` for too many.
    """
    wanted = set(media_ids)
    if len(wanted) > MAX_FILES:
        raise SentinelError(Code.INVALID_FIELD, text=_("A case holds at most %(count)s files."), count=MAX_FILES)
    if not all(re.fullmatch(PUBLIC_ID_PATTERN, each) for each in wanted):
        raise SentinelError(Code.NOT_FOUND)
    with transaction.atomic():
        media = list(Media.objects.filter(owner=seat.user, deleted_at__isnull=True, public_id__in=wanted))
        if len(media) != len(wanted):
            raise SentinelError(Code.NOT_FOUND)
        inside = set(CaseMedia.objects.filter(case=seat.case).values_list("media_public_id", flat=True))
        new = [each for each in media if each.public_id not in inside]
        if len(inside) + len(new) > MAX_FILES:
            raise SentinelError(Code.INVALID_FIELD, text=_("A case holds at most %(count)s files."), count=MAX_FILES)
        # Told first: nobody sees a file whose log does not say so, where transactions mean nothing.
        details = {"what": "case", "case": seat.case.public_id}
        custody.record_each({each.public_id: details for each in new}, Event.SHARED, actor=seat.user)
        CaseMedia.objects.bulk_create(
            CaseMedia(
                case=seat.case, media=each, media_public_id=each.public_id, sha256=each.sha256, added_by=seat.user
            )
            for each in new
        )
        _touch(seat.case)
    return len(new)


def remove_media(user: User, case_id: str, media_id: str) -> None:
    """Take a file out of a case: for the case's owner and whoever added it while the case is open, and for the file's
    owner always, even after they left. Raises ``not_found`` and ``forbidden``.
    """
    line = (
        CaseMedia.objects.select_related("case", "media")
        .filter(case__public_id=case_id, media_public_id=media_id, case__members__user=user)
        .first()
        or CaseMedia.objects.select_related("case", "media")
        .filter(case__public_id=case_id, media_public_id=media_id, media__owner=user)
        .first()
    )
    if line is None:
        raise SentinelError(Code.NOT_FOUND)
    if line.media is None or line.media.owner_id != user.pk:
        seat = take_seat(user, case_id, CaseRole.EXAMINER, to_change=True)
        if not seat.is_owner and line.added_by_id != user.pk:
            raise SentinelError(Code.FORBIDDEN)
    with transaction.atomic():
        deleted, _by_table = CaseMedia.objects.filter(pk=line.pk).delete()
        if deleted and line.media and not line.media.deleted_at:
            custody.record(media_id, Event.WITHDRAWN, actor=user, what="case", case=case_id)
        _touch(line.case)


def cases_with(media: Media) -> QuerySet[Case]:
    """The cases that a file is in: for its owner, who may take it out of each."""
    return Case.objects.filter(files__media=media).select_related("owner").order_by("title", "pk")


def notes_of(case: Case) -> QuerySet[CaseNote]:
    """In the order in which they were written."""
    return CaseNote.objects.filter(case=case).select_related("author")


def add_note(seat: Seat, text: str) -> CaseNote:
    """Raises ``invalid_field`` for an empty or too long one, and for one too many."""
    # Cleaning megabytes would take long.
    text = clean_text(text[: 4 * MAX_NOTE_LENGTH], lines=True)
    if not text or len(text) > MAX_NOTE_LENGTH:
        raise _wrong("text", _("Write a note of at most %(count)s characters."), count=MAX_NOTE_LENGTH)
    if notes_of(seat.case).count() >= MAX_NOTES:
        raise _wrong("text", _("This case has %(count)s notes, which is as many as it can have."), count=MAX_NOTES)
    note = CaseNote.objects.create(case=seat.case, author=seat.user, text=text)
    _touch(seat.case)
    return note


def members_of(case: Case) -> QuerySet[CaseMember]:
    return CaseMember.objects.filter(case=case).select_related("user")


def invitations_of(case: Case) -> QuerySet[CaseInvitation]:
    """Unanswered, for the case's owner."""
    return CaseInvitation.objects.filter(case=case)


def invitations_to(user: User) -> QuerySet[CaseInvitation]:
    """Unanswered, for whoever is invited."""
    return CaseInvitation.objects.filter(user=user).select_related("case__owner")


def invite(seat: Seat, who: str, role: CaseRole) -> CaseInvitation:
    """Ask the user of this exact name or e-mail address to join. Asked again, only the role is changed.

    The answer is the same whether or not there is such an account, and it must be there already: else whoever signed
    up under that name later would get what was meant for somebody else. Raises ``invalid_field``.
    """
    who = clean_text(who[:1000])
    if not who or len(who) > 254:
        raise _wrong("who", _("Enter a user name or an e-mail address."))
    if role not in ROLES:
        raise _wrong("role", _("Choose examiner or viewer."))
    # A name with an @ in it could be somebody else's address.
    user = User.objects.filter(email=who.lower()).first() if "@" in who else User.objects.named(who)
    if user == seat.user:
        raise _wrong("who", _("You are in this case yourself."))
    if user is not None and (not user.is_active or user.deleted_at is not None):
        user = None
    who = who.lower() if "@" in who else User.normalize_username(who)
    # Written otherwise, it is the same invitation still.
    before = CaseInvitation.objects.filter(case=seat.case).values_list("invited_as", flat=True)
    who = next((each for each in before if key_of(each) == key_of(who)), who)
    open_ones = CaseInvitation.objects.exclude(case=seat.case, invited_as=who)
    if (
        open_ones.filter(case=seat.case).count() >= MAX_INVITATIONS
        or open_ones.filter(case__owner=seat.case.owner_id).count() >= MAX_INVITATIONS_OF_OWNER
    ):
        raise _wrong("who", _("Too many invitations are unanswered. Withdraw some first."))
    made, _created = CaseInvitation.objects.update_or_create(
        case=seat.case, invited_as=who, defaults={"user": user, "role": role, "created_at": timezone.now()}
    )
    return made


def withdraw_invitation(seat: Seat, public_id: str) -> None:
    deleted, _by_table = CaseInvitation.objects.filter(case=seat.case, public_id=public_id).delete()
    if not deleted:
        raise SentinelError(Code.NOT_FOUND)


def accept_invitation(user: User, public_id: str) -> Case:
    """Join. Whoever is a member already keeps their role. Raises ``not_found``, ``case_closed``, and ``invalid_field``
    if it is full.
    """
    invitation = _invitation_to(user, public_id)
    case = invitation.case
    if not case.is_open:
        # The invitation stays: its owner may reopen the case.
        raise SentinelError(Code.CASE_CLOSED)
    if members_of(case).count() >= MAX_MEMBERS:
        raise _wrong("who", _("This case has %(count)s members, which is as many as it can have."), count=MAX_MEMBERS)
    try:
        with transaction.atomic():
            if not CaseInvitation.objects.filter(pk=invitation.pk).delete()[0]:
                raise SentinelError(Code.NOT_FOUND)
            if not members_of(case).filter(user=user).exists():
                # Told first: nobody sees a file whose log does not say so, where transactions mean nothing.
                _record_all(case, Event.SHARED, actor=user, what="member")
                CaseMember.objects.create(case=case, user=user, role=invitation.role)
    except IntegrityError as error:
        # Two clicks at once, or the case is gone.
        raise SentinelError(Code.NOT_FOUND) from error
    return case


def decline_invitation(user: User, public_id: str) -> None:
    _invitation_to(user, public_id).delete()


def end_invitation(user: User, public_id: str) -> None:
    """Decline it if it is to `user`, withdraw it if it is from them. Raises ``not_found``."""
    ours = CaseInvitation.objects.filter(Q(user=user) | Q(case__owner=user), public_id=public_id)
    # By its key: MongoDB deletes by no other table.
    found = ours.values_list("pk", flat=True).first()
    if found is None or not CaseInvitation.objects.filter(pk=found).delete()[0]:
        raise SentinelError(Code.NOT_FOUND)


def change_role(seat: Seat, user_id: str, role: CaseRole) -> CaseMember:
    """Raises ``not_found`` for whoever is no member, ``invalid_field`` for the owner's role."""
    member = _member(seat, user_id)
    if member.role == CaseRole.OWNER or role not in ROLES:
        raise _wrong("role", _("Choose examiner or viewer."))
    member.role = role
    member.save(update_fields=["role"])
    return member


def remove_member(seat: Seat, user_id: str) -> None:
    """Of the owner, anybody else; of everybody, themselves. Files that they added stay. Raises ``forbidden``."""
    if user_id != seat.user.public_id and not seat.is_owner:
        raise SentinelError(Code.FORBIDDEN)
    member = _member(seat, user_id)
    if member.role == CaseRole.OWNER:
        raise SentinelError(Code.FORBIDDEN, text=_("The owner cannot leave a case. Delete it instead."))
    with transaction.atomic():
        if CaseMember.objects.filter(pk=member.pk).delete()[0]:
            _record_all(seat.case, Event.WITHDRAWN, actor=seat.user, what="member", member=user_id)


def leave_all(user: User) -> None:
    """Whose account goes leaves no case behind and is in none. Notes stay, without their name."""
    for case in Case.objects.filter(owner=user):
        delete_case(Seat(case, user, CaseRole.OWNER))
    for member in CaseMember.objects.select_related("case").filter(user=user):
        remove_member(Seat(member.case, user, CaseRole(member.role)), user.public_id)


def _member(seat: Seat, user_id: str) -> CaseMember:
    member = members_of(seat.case).filter(user__public_id=user_id).first()
    if member is None:
        raise SentinelError(Code.NOT_FOUND)
    return member


def _invitation_to(user: User, public_id: str) -> CaseInvitation:
    invitation = invitations_to(user).filter(public_id=public_id).first()
    if invitation is None:
        raise SentinelError(Code.NOT_FOUND)
    return invitation


def _record_all(case: Case, event: Event, *, actor: User, what: str, **details: str) -> None:
    """Into the log of every file of the case that is still here."""
    here = CaseMedia.objects.filter(case=case, media__deleted_at__isnull=True, media__isnull=False)
    said = {"what": what, "case": case.public_id, **details}
    custody.record_each(dict.fromkeys(here.values_list("media_public_id", flat=True), said), event, actor=actor)


def _touch(case: Case) -> None:
    Case.objects.filter(pk=case.pk).update(updated_at=timezone.now())


def _wrong(field: str, text: Any, **params: Any) -> SentinelError:
    error = SentinelError(Code.INVALID_FIELD, text=text, **params)
    error.errors[field] = [error.text]
    return error
