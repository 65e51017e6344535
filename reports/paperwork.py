"""Papers that people take to the police and to court, filled in as far as the site knows: drafts, never filed by us.

The texts are templates below ``templates/reports/paperwork``; each says where it comes from and of when it is. An
operator may put other ones before them: see ``SENTINEL_TEMPLATES_DIR`` in docs/settings.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.template.loader import render_to_string
from django.utils import translation
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _

from media_analysis.case_details import case_of, case_rows
from media_analysis.link_words import link_of
from media_analysis.models import Analysis, LinkSource
from media_analysis.wording import verdict_text
from reports import typefaces
from reports.document import Document
from reports.pdf import Engine

# The Schedule of the Act, in its order: the words of the form are law, and stay as they are in every language.
DEVICES = ("Computer / Storage Media", "DVR", "Mobile", "Flash Drive", "CD/DVD", "Server", "Cloud", "Other")
ROLES = ("Owned", "Maintained", "Managed", "Operated")
# The description fits into the portal's box, which takes no fewer and no more characters.
SHORTEST_DESCRIPTION, LONGEST_DESCRIPTION = 200, 1500
LONGEST_NAME_IN_DESCRIPTION = 80


@dataclass(frozen=True, slots=True)
class Party:
    """What the person who signs Part A wants to have filled in. All may be empty; nothing of it is stored."""

    name: str = ""
    relative: str = ""
    address: str = ""
    devices: tuple[str, ...] = ()
    other_device: str = ""
    make_and_model: str = ""
    colour: str = ""
    serial_number: str = ""
    identifier: str = ""
    particulars: str = ""
    roles: tuple[str, ...] = ()
    place: str = ""


# Labels of what the packet lists, in the order of the portal's questions.
FACTS = {
    "link": _("Link"),
    "name": _("Name of the file"),
    "received": _("Received by Sentinel"),
    "examined": _("Examined by Sentinel"),
    "sha256": _("SHA-256"),
    "md5": _("MD5"),
    "size": _("Size in bytes"),
    "number": _("Number of this examination"),
}


def describe(analysis: Analysis, language: str) -> str:
    """A neutral description of what was found, in one paragraph of plain text, in one of the site's languages."""
    with translation.override(language):
        media = analysis.media
        name = media.original_name
        if len(name) > LONGEST_NAME_IN_DESCRIPTION:
            name = f"{name[: LONGEST_NAME_IN_DESCRIPTION - 1]}…"
        context = {"analysis": analysis, "media": media, "name": mark_safe(name), "verdict": verdict_text(analysis)}  # noqa: S308 -- plain text, not HTML
        text = render_to_string("reports/paperwork/description.txt", context)
    return re.sub(r"\s+", " ", text).strip()


def facts_of(analysis: Analysis) -> tuple[tuple[str, str], ...]:
    """What the portal asks for and the site knows, as label and text in the active language."""
    media = analysis.media
    values = {
        "link": _address_of(link_of(media)),
        "name": media.original_name,
        "received": _moment(media.arrived_at),
        "examined": _moment(analysis.examined_at) if analysis.examined_at else "",
        "sha256": media.sha256,
        "md5": media.md5,
        "size": str(media.size),
        "number": analysis.public_id,
    }
    return tuple((str(FACTS[name]), value) for name, value in values.items() if value)


def packet_context(analysis: Analysis, language: str) -> dict[str, Any]:
    """What page and PDF of the packet for the portal show, in `language`."""
    with translation.override(language):
        return {
            "analysis": analysis,
            "media": analysis.media,
            "facts": facts_of(analysis),
            "case": case_rows(case_of(analysis)),
            "description": describe(analysis, language),
            # Whoever reads a complaint may not read the language that it was written in.
            "description_in_english": "" if language == "en" else describe(analysis, "en"),
        }


def compose_packet(analysis: Analysis, language: str, engine: Engine, *, made_at: datetime) -> Document:
    """The packet for the National Cyber Crime Reporting Portal, of a DONE analysis."""
    return _compose("reports/paperwork/packet.html", packet_context(analysis, language), language, engine, made_at)


def compose_certificate(analysis: Analysis, party: Party, engine: Engine, *, made_at: datetime) -> Document:
    """A draft of the certificate under section 63(4)(c) of the Bharatiya Sakshya Adhiniyam, 2023, with its hash report.

    In English, the language of the Act's text that it repeats. Part B is the expert's and stays empty but for the
    digests, which are the same.
    """
    context = {
        "analysis": analysis,
        "media": analysis.media,
        "party": party,
        "devices": [(name, name in party.devices) for name in DEVICES],
        "no_devices": [(name, False) for name in DEVICES],
        "roles": [(name, name in party.roles) for name in ROLES],
    }
    return _compose("reports/paperwork/certificate.html", context, "en", engine, made_at)


def _compose(template: str, context: Mapping[str, Any], language: str, engine: Engine, made_at: datetime) -> Document:
    families = ", ".join(f'"{typefaces.family_of(script)}"' for script in engine.scripts)
    with translation.override(language):
        markup = render_to_string(
            template,
            {
                **context,
                "language": language,
                "made_at": made_at,
                "engine": engine.name,
                "families": mark_safe(families),  # noqa: S308 -- our own names
                "page_number": mark_safe(engine.page_number),  # noqa: S308 -- our own markup
                "page_count": mark_safe(engine.page_count),  # noqa: S308 -- our own markup
            },
        )
    return Document(markup=typefaces.spell_out(markup, engine.scripts))


def _address_of(link: LinkSource | None) -> str:
    """Where others find what was examined: the post that it came with, else the lasting link, else the one given."""
    return link.claims.get("post_url") or link.canonical_url or link.url if link else ""


def _moment(moment: datetime) -> str:
    return render_to_string("reports/paperwork/moment.txt", {"moment": moment}).strip()
