"""The custody log in plain words, for pages and reports: what happened, by whom, when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from media_analysis.custody import Event, What
from media_analysis.models import CustodyEvent, Submission

VIEWED: Mapping[str, Promise] = {
    What.PAGE: gettext_lazy("Result looked at"),
    What.API: gettext_lazy("Result read by a program"),
    What.APP_LIST: gettext_lazy("Result shown in the list of an app"),
    What.CASE: gettext_lazy("Result shown in a case"),
    What.PICTURE: gettext_lazy("Pictures of the result looked at"),
    What.LIVE: gettext_lazy("Watched while it was examined"),
    What.ADMIN: gettext_lazy("Looked at in the administration"),
    What.ORIGINAL: gettext_lazy("The file itself looked at"),
}
DOWNLOADED: Mapping[str, Promise] = {
    What.REPORT: gettext_lazy("Report downloaded"),
    What.CASE_REPORT: gettext_lazy("Downloaded with the report of a case"),
    What.CASE_EXPORT: gettext_lazy("Downloaded with everything of a case"),
    What.ORIGINAL: gettext_lazy("The file itself downloaded"),
    What.PACKAGE: gettext_lazy("Evidence package downloaded"),
    What.TRAINING: gettext_lazy("Copy handed over for training, as its owner permitted"),
    "certificate": gettext_lazy("Draft of the certificate downloaded"),
    "packet": gettext_lazy("Packet for the cyber crime portal downloaded"),
}
SHARED: Mapping[str, Promise] = {
    "card": gettext_lazy("Result published on a page for everybody who has its address"),
    "case": gettext_lazy("Put into a case"),
    "member": gettext_lazy("Somebody joined a case that it is in"),
}
WITHDRAWN: Mapping[str, Promise] = {
    "card": gettext_lazy("Published page withdrawn"),
    "case": gettext_lazy("Taken out of a case"),
    "member": gettext_lazy("Somebody left a case that it is in"),
}
OTHERS: Mapping[str, Promise] = {
    Event.BEGUN: gettext_lazy("This log begins. The file was received earlier."),
    Event.RECEIVED: gettext_lazy("File received"),
    Event.HASHED: gettext_lazy("Checksums calculated"),
    Event.ANALYSED: gettext_lazy("File examined"),
    Event.FAILED: gettext_lazy("The examination failed"),
    Event.VIEWED: gettext_lazy("Result looked at"),
    Event.DOWNLOADED: gettext_lazy("Downloaded"),
    Event.SHARED: gettext_lazy("Shared"),
    Event.WITHDRAWN: gettext_lazy("No longer shared"),
    Event.HANDED_OVER: gettext_lazy("Moved to another account of the same person"),
    Event.DELETED: gettext_lazy("File deleted"),
}
BY_WHAT: Mapping[str, Mapping[str, Promise]] = {
    Event.VIEWED: VIEWED,
    Event.DOWNLOADED: DOWNLOADED,
    Event.SHARED: SHARED,
    Event.WITHDRAWN: WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class Told:
    """One event as people read it; ``number`` counts from 1. ``address`` is empty for whom it is not."""

    number: int
    at: datetime
    text: str
    who: str
    address: str
    digest: str


def tell(events: Iterable[CustodyEvent], *, owner: User, viewer: User | None = None) -> tuple[Told, ...]:
    """The events of one file of `owner` as `viewer` may read them; without one, as a report prints them.

    Addresses are for the file's owner only, and not those of the staff, who are not named either.
    """
    events = list(events)
    people = {
        user.public_id: user for user in User.objects.filter(public_id__in={event.actor for event in events} - {""})
    }
    told = []
    for event in events:
        actor = people.get(event.actor)
        is_staff = actor is not None and actor.is_staff and actor != owner
        told.append(
            Told(
                number=event.number + 1,
                at=event.at,
                text=describe(event),
                who=_who(event, actor, is_staff=is_staff, viewer=viewer),
                address=event.address if viewer == owner and not (is_staff and actor != viewer) else "",
                digest=event.digest,
            )
        )
    return tuple(told)


def describe(event: CustodyEvent) -> str:
    """What happened, in the active language."""
    details = event.details
    what = "card" if "card" in details else str(details.get("what", ""))
    text = str(BY_WHAT.get(event.event, {}).get(what, OTHERS[event.event]))
    added = ""
    if event.event == Event.ANALYSED and "result_of" in details:
        # Nobody looked at this one.
        text, added = _("Given the result of the very same file, examined earlier"), str(details["result_of"])
    elif event.event == Event.RECEIVED and details.get("source") in Submission.Source.values:
        added = str(Submission.Source(details["source"]).label)
    elif event.event == Event.DOWNLOADED:
        added = dict(settings.LANGUAGES).get(str(details.get("language", "")), "")
    elif event.event == Event.ANALYSED:
        added = str(details.get("detector", ""))
    return _("%(event)s (%(more)s)") % {"event": text, "more": added} if added else text


def _who(event: CustodyEvent, actor: User | None, *, is_staff: bool, viewer: User | None) -> str:
    if event.details.get("rule") == "retention":
        return _("the site's rule on how long files are kept")
    if not event.actor:
        return _("Sentinel itself")
    if actor is None:
        return _("deleted account")
    if actor == viewer:
        return _("you")
    return _("staff of this site") if is_staff else actor.get_username()
