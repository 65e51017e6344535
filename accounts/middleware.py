from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from accounts import second_factor, security_log, sessions
from accounts.addresses import address_of
from accounts.throttles import RateState

logger = logging.getLogger(__name__)

# 404 too: what is somebody else's is answered like what never was.
REFUSED = {403, 404}

GetResponse = Callable[[HttpRequest], HttpResponse]


class RateLimitHeaders:
    """Tells API clients how many requests they have left, so that they can slow down before they are refused."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        state: RateState | None = getattr(request, "rate_state", None)
        if state is not None:
            response["X-RateLimit-Limit"] = str(state.limit)
            response["X-RateLimit-Remaining"] = str(state.remaining)
            response["X-RateLimit-Reset"] = str(state.reset)
        return response


class WebSessionMiddleware:
    """Logs a browser out whose log-in was ended elsewhere or ran out."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        was_logged_in = request.user.is_authenticated
        if was_logged_in and not sessions.guard(request):
            request.session.flush()
            request.user = AnonymousUser()
        response = self.get_response(request)
        if was_logged_in and not request.user.is_authenticated and request.is_secure():
            # Computers are shared: pictures and answers of the API that the browser kept, and pages behind "back".
            response["Clear-Site-Data"] = '"cache"'
        return response


class LogRefusals:
    """Writes into the log what was refused to somebody who is logged in: who asks for what is not theirs."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # Who has a token is known once the view was asked.
        user: Any = request.user
        if response.status_code in REFUSED and user.is_authenticated:
            line = "User %s at %s was refused %s %s: %s"
            logger.warning(
                line, user.public_id, address_of(request), request.method, request.path, response.status_code
            )
        return response


class AdminMiddleware:
    """Closes the administration to log-ins without a second factor, where the site wants that, and writes down what
    is looked at and done there. What is added, changed and deleted Django writes down itself, with the fields.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]) -> HttpResponse | None:
        match = request.resolver_match
        user: Any = request.user
        if match is None or match.app_name != "admin" or not user.is_staff:
            return None
        open_to_all_staff = {"login", "logout", "jsi18n"}
        if (
            settings.SENTINEL_STAFF_SECOND_FACTOR == "required"
            and match.url_name not in open_to_all_staff
            and not sessions.is_verified(request)
        ):
            return self._ask_for_more(request, user)
        self._record(request, user, str(match.url_name), kwargs)
        _check_chosen_keys(request, view)
        return None

    def _ask_for_more(self, request: HttpRequest, user: Any) -> HttpResponse:
        if second_factor.is_on(user):
            back = urlencode({"next": request.get_full_path()})
            return redirect(f"{reverse('accounts:second_step')}?{back}")
        messages.warning(request, _("Set up a second factor first: the administration asks for one."))
        return redirect("accounts:security")

    def _record(self, request: HttpRequest, user: Any, name: str, kwargs: dict[str, Any]) -> None:
        event, details = security_log.Event.ADMIN_LOOKED, {}
        if request.method == "POST":
            event = security_log.Event.ADMIN_ACTED
            details = {
                "action": request.POST.get("action", "")[:100],
                # A whole list is no secret, and no place to store one either.
                "selected": ",".join(request.POST.getlist(ACTION_CHECKBOX_NAME))[:500],
            }
        elif "object_id" not in kwargs and not request.GET.get("q"):
            # An empty form or a list; what is seen of single accounts and files is what counts.
            return
        found = {"page": name, "object": str(kwargs.get("object_id", "")), "search": request.GET.get("q", "")[:100]}
        told = {key: value for key, value in {**found, **details}.items() if value}
        security_log.record(None, event, request=request, actor=user, **told)


def _check_chosen_keys(request: HttpRequest, view: Any) -> None:
    """Raises Http404 for a forged form that chose rows by what no row can have for a key: Django's lists would fail."""
    model_admin = getattr(view, "model_admin", None)
    if model_admin is None or request.method != "POST":
        return
    for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME):
        try:
            model_admin.opts.pk.clean(chosen, None)
        except ValidationError as error:
            raise Http404 from error
