"""The page that tells what happened to a file."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from media_analysis import cases, custody, custody_words, selectors
from media_analysis.edges import SignedInRequest, page

PAGE_SIZE = 50


@require_GET
@page
def log(request: SignedInRequest, public_id: str) -> HttpResponse:
    media = selectors.get_media(request.user, public_id)
    entries = Paginator(custody.events_of(media.public_id).reverse(), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "media": media,
        "analysis": selectors.standing(media.analyses.all()).order_by("-created_at", "-id").first(),
        "page": entries,
        "events": custody_words.tell(entries, owner=media.owner, viewer=request.user),
        "is_own": media.owner_id == request.user.pk,
        "cases": cases.cases_with(media) if media.owner_id == request.user.pk else (),
        "is_whole": not custody.check(custody.events_of(media.public_id).iterator(chunk_size=1000)),
    }
    return render(request, "media_analysis/custody/log.html", context)
