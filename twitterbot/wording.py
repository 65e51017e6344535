"""Every text that the bot sends, in the active language. They never say more than was found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.template.defaultfilters import floatformat
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts import limits
from accounts.errors import Code, text_of
from accounts.models import User
from media_analysis.models import Analysis
from media_analysis.templatetags.verdicts import cautiously
from media_analysis.wording import reason_text, verdict_text
from twitterbot import reading
from twitterbot.length import MAX_LENGTH, weighted_length

CONFIDENT = {Analysis.Outcome.FAKE, Analysis.Outcome.REAL}


def result_reply(analysis: Analysis, *, link: str, claims: Mapping[str, Any]) -> str:
    """The public reply: verdict, percentage, stretches and a link, as long as a post may be.

    As many stretches as fit, and how many more there are. ``claims`` are the mention's: see :func:`rest_text`.
    """
    found = [found_text(analysis)]
    if analysis.outcome == Analysis.Outcome.REAL:
        found.append(_("That is no proof that it is genuine."))
    if rest := rest_text(claims):
        found.append(rest)
    tail = [_("Examined by a machine, which can be wrong."), *([link] if link else [])]
    stretches = analysis.timestamps if analysis.outcome == Analysis.Outcome.FAKE else []
    for shown in range(len(stretches), -1, -1):
        text = " ".join([*found, *([stretches_text(stretches, shown=shown)] if shown else []), *tail])
        if weighted_length(text) <= MAX_LENGTH:
            return text
    return " ".join([found[0], *tail[1:]])


def rest_text(claims: Mapping[str, Any]) -> str:
    """That a post has more than what was examined, of which the verdict says nothing; empty if it has not."""
    if (photos := int(claims.get("photos", 1))) > 1:
        return _("The post has %(photos)s photos: only the first was examined.") % {"photos": photos}
    if (number := int(claims.get("videos_and_photos", 1))) > 1:
        return _("The post has %(number)s videos and photos: only the first video was examined.") % {"number": number}
    return ""


def result_details(analysis: Analysis, *, post_url: str, link: str, claims: Mapping[str, Any]) -> str:
    """The direct message beside it: everything that is too long for a post."""
    lines = [
        _("Your examination of %(post)s is finished.") % {"post": post_url},
        found_text(analysis),
    ]
    if analysis.outcome == Analysis.Outcome.REAL:
        lines.append(_("That is no proof that it is genuine."))
    lines.append(_("Examined by a machine, which can be wrong."))
    if rest := rest_text(claims):
        lines.append(rest)
    if analysis.outcome in CONFIDENT:
        lines.append(
            _("Frames called fake: %(fake)s. Frames called real: %(real)s.")
            % {"fake": analysis.fake_frames, "real": analysis.real_frames}
        )
    if analysis.timestamps:
        lines.append(stretches_text(analysis.timestamps, shown=len(analysis.timestamps)))
    lines.append(
        _("Detector: %(name)s, version %(version)s.")
        % {"name": analysis.detector, "version": analysis.detector_version}
    )
    if link:
        lines.append(_("Result: %(link)s") % {"link": link})
    return "\n".join(lines)


def found_text(analysis: Analysis) -> str:
    """The verdict as sentences: with the percentage behind it where there is one, else with its reason."""
    sentences = [_sentence(verdict_text(analysis))]
    if analysis.outcome in CONFIDENT and analysis.confidence is not None:
        sentences.append(_sentence(_("Confidence %(percent)s") % {"percent": cautiously(analysis.confidence)}))
    elif analysis.outcome == Analysis.Outcome.INCONCLUSIVE and (reason := reason_text(analysis)):
        sentences.append(_sentence(reason))
    return " ".join(sentences)


def stretches_text(stretches: list[list[float]], *, shown: int) -> str:
    """The stretches called fake, in seconds: so many of them, and how many more there are."""
    texts = [
        _("%(start)s–%(end)s s") % {"start": floatformat(start, 1), "end": floatformat(end, 1)}
        for start, end in stretches[:shown]
    ]
    if more := len(stretches) - shown:
        texts.append(_("%(number)s more") % {"number": more})
    return _sentence(f"{_('Called fake in these stretches:')} {', '.join(texts)}")


def failure_text(analysis: Analysis, *, post_url: str) -> str:
    """The direct message for an examination that came to no end."""
    link = getattr(analysis.media, "link", None)
    problems = {"not_found": reading.GONE, "private": reading.PRIVATE, "no_media": reading.NO_MEDIA}
    if link is not None and link.problem in problems:
        return problem_text(problems[link.problem])
    return "\n".join(
        [_("The video or photo at %(post)s could not be examined.") % {"post": post_url}, reason_text(analysis)]
    )


def problem_text(problem: str, *, user: User | None = None) -> str:
    """The direct message that says why nothing is examined."""
    if problem == reading.NO_MEDIA:
        return _(
            "There is no video or photo to examine: not in your post, not in the one that it quotes and not in the one "
            "that it replies to. Tag me under a post that has one."
        )
    if problem == reading.GONE:
        return _("The post with the video or photo is gone, so it cannot be examined.")
    if problem == reading.PRIVATE:
        return _("The post with the video or photo is not public, so it cannot be examined.")
    if problem == Code.RATE_LIMITED:
        limit = limits.limit_of(user) if user else settings.SENTINEL_DAILY_LIMIT
        return text_of(problem, limit=limit)
    return text_of(problem)


def stopped_text() -> str:
    return _("You get no more answers from me. To get them again, tag me with nothing but the word: start")


def started_text() -> str:
    return _("You get answers from me again. To stop them, tag me with nothing but the word: stop")


def code_text(code: str, *, holds: timedelta, page: str) -> str:
    """The direct message with the code that joins an account on X with one here."""
    minutes = int(holds.total_seconds() // 60)
    return "\n".join(
        [
            _("Your code: %(code)s") % {"code": code},
            _("Log in to Sentinel and enter it within %(minutes)s minutes: %(page)s")
            % {"minutes": minutes, "page": page},
            _("Whoever has this code gets your results. Show it to nobody."),
        ]
    )


def footer(*, user: User | None, reference: str, stop: bool = True) -> str:
    """What stands below each direct message: what is left of today's limit, how to stop it, and its reference."""
    lines: list[str] = []
    if user is not None:
        limit, left = limits.limit_of(user), limits.remaining(user)
        lines.append(
            ngettext(
                "%(remaining)s of %(limit)s examination is left.",
                "%(remaining)s of %(limit)s examinations are left.",
                limit,
            )
            % {"remaining": left, "limit": limit}
        )
    if stop:
        lines.append(_("To get no more answers, tag me with nothing but the word: stop"))
    lines.append(_("Reference: %(reference)s") % {"reference": reference})
    return "\n".join(lines)


def _sentence(text: str) -> str:
    """With a capital letter and a full stop, unless it has one: in Hindi and Bengali that is a danda."""
    text = capfirst(text.strip())
    return text if text.endswith((".", "!", "?", "।", "…")) else f"{text}."
