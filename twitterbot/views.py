"""The page on which somebody joins their account on X with their account here."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import SentinelError
from media_analysis.edges import SignedInRequest, page
from twitterbot import linking
from twitterbot.forms import CodeForm


@require_http_methods(["GET", "POST"])
@page
def accounts(request: SignedInRequest) -> HttpResponse:
    form = CodeForm(request.POST if request.method == "POST" else None)
    status = 400 if form.is_bound else 200
    if form.is_valid():
        try:
            joined = linking.join(request.user, form.cleaned_data["code"])
        except SentinelError as error:
            status = error.status
            form.add_error("code", error.errors.get("code", [error.text]))
        else:
            messages.success(request, _("%(name)s on X is joined with this account.") % {"name": joined})
            return redirect("twitterbot:accounts")
    context = {"form": form, "joined": linking.accounts_of(request.user), "handle": settings.TWITTER_HANDLE}
    return render(request, "twitterbot/accounts.html", context, status=status)


@require_POST
@page
def leave(request: SignedInRequest, twitter_id: int) -> HttpResponse:
    linking.leave(request.user, twitter_id)
    messages.success(request, _("The account on X is no longer joined with this one."))
    return redirect("twitterbot:accounts")
