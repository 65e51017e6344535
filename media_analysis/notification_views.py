"""The page of notifications: the list, marking as read, and how somebody wants to be told."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from media_analysis import notifications
from media_analysis.edges import SignedInRequest, page, upload_context
from media_analysis.forms import CaseDetailsForm, IntoCaseForm, NotificationPreferencesForm
from media_analysis.link_forms import LinkForm

PAGE_SIZE = 20


@require_GET
@page
def listing(request: SignedInRequest) -> HttpResponse:
    entries = Paginator(notifications.notifications_of(request.user), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": entries,
        "unread": notifications.unread_of(request.user).count(),
        "form": NotificationPreferencesForm(instance=request.user),
        "devices": request.user.push_devices.all(),
        "vapid_key": settings.VAPID_PUBLIC_KEY,
    }
    return render(request, "media_analysis/notifications.html", context)


@require_POST
@page
def mark_read(request: SignedInRequest, public_id: str) -> HttpResponse:
    notifications.mark_read(request.user, public_id)
    return redirect("media_analysis:notifications")


@require_POST
@page
def mark_all_read(request: SignedInRequest) -> HttpResponse:
    notifications.mark_all_read(request.user)
    return redirect("media_analysis:notifications")


@require_POST
@page
def preferences(request: SignedInRequest) -> HttpResponse:
    form = NotificationPreferencesForm(request.POST, instance=request.user)
    if form.is_valid():
        chosen = form.cleaned_data
        notifications.set_preferences(
            request.user, by_email=chosen["notify_by_email"], details=chosen["notify_details"]
        )
        messages.success(request, _("Your choice is saved."))
    return redirect("media_analysis:notifications")


@require_POST
@page
def remove_device(request: SignedInRequest, public_id: str) -> HttpResponse:
    request.user.push_devices.filter(public_id=public_id).delete()
    messages.success(request, _("That device gets no more messages."))
    return redirect("media_analysis:notifications")


# A phone's "share" menu posts here without a token against forged requests. The service worker keeps the file for the
# page and asks for it with GET; what reaches the server had no service worker, and its file is never looked at.
@csrf_exempt
@require_http_methods(["GET", "POST"])
def share(request: HttpRequest) -> HttpResponseBase:
    if request.method == "POST":
        return redirect("media_analysis:share")
    return _shared(request)


@page
def _shared(request: SignedInRequest) -> HttpResponse:
    context = {
        **upload_context(request.user),
        "link_form": LinkForm(initial=request.GET.dict()),
        "case_form": CaseDetailsForm(),
        "into_form": IntoCaseForm(user=request.user, chosen=""),
    }
    return render(request, "media_analysis/share.html", context)
