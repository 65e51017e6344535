"""Whether a document came from here, for anybody who asks, and nothing else about it.

What decides is the list of issued documents: a digest that is in it belongs to a document that was made here, byte for
byte. The seal in a PDF only tells what else it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from reports import issued, seal
from reports.models import IssuedDocument

# A report is below 3 MB; what is larger than this is told by its digest alone.
MOST_PDF_BYTES = 8 * 1024 * 1024


class Answer(StrEnum):
    GENUINE = "genuine"
    ADDED_TO = "added_to"
    CHANGED = "changed"
    NOT_LISTED = "not_listed"
    OTHER_KEY = "other_key"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


TITLES: dict[Answer, Promise] = {
    Answer.GENUINE: _("Genuine: made by this site and not changed"),
    Answer.ADDED_TO: _("Changed: something was added to it"),
    Answer.CHANGED: _("Changed since it was made"),
    Answer.NOT_LISTED: _("Sealed by this site, but not in its list"),
    Answer.OTHER_KEY: _("Sealed by somebody else"),
    Answer.DAMAGED: _("Damaged or incomplete"),
    Answer.UNKNOWN: _("Not known here"),
}
TEXTS: dict[Answer, Promise] = {
    Answer.GENUINE: _("It is byte for byte as this site made it. This does not say that what stands in it is right."),
    Answer.ADDED_TO: _(
        "The first part is as this site made it, but somebody added to it afterwards. Ask for the document as it was "
        "made."
    ),
    Answer.CHANGED: _(
        "It carries the seal or the number of a document that this site made, but it is not that document. Do not rely "
        "on it."
    ),
    Answer.NOT_LISTED: _(
        "The seal is this site’s and fits, but this site’s list of documents does not have it. Ask whoever runs this "
        "site."
    ),
    Answer.OTHER_KEY: _("It carries a seal, but not one of this site. This site did not make it."),
    Answer.DAMAGED: _("Its end is missing, or its seal cannot be read. Get it once more from whoever gave it to you."),
    Answer.UNKNOWN: _(
        "This site’s list does not have it. If it is said to be a report or an evidence package of this site, then it "
        "is not one, or it was changed: a single byte is enough. Drafts for the police and the court are never in the "
        "list."
    ),
}

# What a seal that does not fit the whole document says of it, where the document is not in the list.
_ANSWERS = {
    seal.State.INTACT: Answer.NOT_LISTED,
    seal.State.ADDED_TO: Answer.ADDED_TO,
    seal.State.CHANGED: Answer.CHANGED,
    seal.State.OTHER_KEY: Answer.OTHER_KEY,
    seal.State.CUT_OFF: Answer.DAMAGED,
    seal.State.UNREADABLE: Answer.DAMAGED,
    seal.State.UNSIGNED: Answer.UNKNOWN,
    seal.State.NOT_A_PDF: Answer.UNKNOWN,
}
# These are said even where the document bears a number of ours: they say more.
_TOLD_ANYHOW = {seal.State.ADDED_TO, seal.State.OTHER_KEY, seal.State.CUT_OFF}


@dataclass(frozen=True, slots=True)
class Finding:
    """``sha256`` is of what was given; ``document`` is there for GENUINE only, ``seal`` where a PDF was read."""

    answer: Answer
    sha256: str
    document: IssuedDocument | None = None
    seal: seal.Check | None = None

    @property
    def title(self) -> Promise:
        return TITLES[self.answer]

    @property
    def text(self) -> Promise:
        return TEXTS[self.answer]


def check_digest(sha256: str) -> Finding:
    """Of 64 hexadecimal digits."""
    document = issued.find(sha256)
    return Finding(Answer.GENUINE if document else Answer.UNKNOWN, sha256.lower(), document)


def check_content(sha256: str, content: bytes) -> Finding:
    """Of a whole file that may be a PDF, with its digest."""
    found = check_digest(sha256)
    if found.document:
        return found
    check = seal.check_pdf(content)
    answer = _ANSWERS[check.state]
    if check.state not in _TOLD_ANYHOW and _bears_our_number(content):
        answer = Answer.CHANGED
    return Finding(answer, found.sha256, seal=check)


def _bears_our_number(content: bytes) -> bool:
    return any(issued.find_by_number(number) for number in seal.numbers_in(content))
