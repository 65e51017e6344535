"""Logging in, and the pages about how safe an account is: second factor, passkeys, log-ins, what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth import views as auth
from django.contrib.auth.forms import PasswordResetForm
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse, reverse_lazy
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.generic import FormView

from accounts import mails, passkeys, second_factor, security_log, services, sessions, tokens
from accounts.addresses import device_name
from accounts.answers import answer_error
from accounts.errors import Code, SentinelError
from accounts.forms import (
    WRONG_PASSWORD,
    ChangePasswordForm,
    CodeForm,
    ConfirmForm,
    LogInForm,
    NewPasswordForm,
    PasskeyForm,
)
from accounts.models import Factor, User
from accounts.signed_in import signed_in
from accounts.throttles import PerAddress, hold_to

BACKEND = "accounts.backends.UsernameOrEmailBackend"
# Who gave the right password and has not shown the second factor yet.
PENDING = "pending_log_in"
PENDING_SECONDS = 10 * 60

View = Callable[..., HttpResponseBase]


def safe_next(request: HttpRequest, default: Any = "home") -> str:
    """Where the visitor wanted to go, if that is on this site."""
    wanted: str = request.POST.get("next") or request.GET.get("next", "")
    allowed = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if wanted and allowed else resolve_url(default)


def user_of(request: HttpRequest) -> User:
    """Who asks; only behind `signed_in`."""
    return cast(User, request.user)


def confirmed(view: View) -> View:
    """For what a thief of a session must not do: asks for the password first, if it was not given just now."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not sessions.is_confirmed(request):
            back = request.path if request.method == "GET" else reverse("accounts:security")
            return redirect(f"{reverse('accounts:confirm')}?{urlencode({'next': back})}")
        return view(request, *args, **kwargs)

    return guarded


@method_decorator(never_cache, name="dispatch")
class LogInView(auth.LoginView):
    """The first step: name and password."""

    template_name = "accounts/login.html"
    authentication_form = LogInForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # As by the API: of many names, too, one address does not try one after the other as fast as it can.
        try:
            hold_to(PerAddress, request)
        except SentinelError as error:
            return answer_error(request, error)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        user: User = form.get_user()
        if not second_factor.is_on(user):
            return super().form_valid(form)
        self.request.session.cycle_key()
        self.request.session[PENDING] = [user.public_id, user.get_session_auth_hash(), int(time.time())]
        return redirect(f"{reverse('accounts:second_step')}?{urlencode({'next': safe_next(self.request)})}")

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(**context, passkeys_possible=passkeys.are_possible(self.request))


def admin_log_in(request: HttpRequest) -> HttpResponse:
    """The administration has no log-in of its own, which would not ask for the second factor."""
    if request.user.is_authenticated and not user_of(request).is_staff:
        return answer_error(request, SentinelError(Code.FORBIDDEN))
    back = safe_next(request, "admin:index")
    return redirect(f"{reverse('accounts:login')}?{urlencode({'next': back})}")


@require_http_methods(["GET", "POST"])
@never_cache
def second_step(request: HttpRequest) -> HttpResponse:
    """The second step: a code. Also for who is logged in without one and wants to where one is needed."""
    user = _asked_for_more(request)
    if user is None:
        return redirect(safe_next(request) if request.user.is_authenticated else "accounts:login")
    form = CodeForm(request.POST if request.method == "POST" else None)
    status = 400 if form.is_bound else 200
    if form.is_valid():
        try:
            factor = second_factor.check_code(request, user, form.cleaned_data["code"])
        except SentinelError as error:
            form.add_error("code", error.text)
            status = error.status
        else:
            return _log_in(request, user, factor)
    context = {
        "form": form,
        "next": safe_next(request),
        "has_totp": second_factor.has_totp(user),
        "has_passkeys": user.passkeys.exists(),
        "passkeys_possible": passkeys.are_possible(request),
    }
    return render(request, "accounts/second_step.html", context, status=status)


@require_POST
@never_cache
def passkey_log_in_options(request: HttpRequest) -> HttpResponse:
    """For the script of the page, which hands it to the browser."""
    try:
        hold_to(PerAddress, request)
    except SentinelError as error:
        return answer_error(request, error)
    return JsonResponse(passkeys.begin_log_in(request))


@require_POST
@never_cache
def passkey_log_in(request: HttpRequest) -> HttpResponse:
    """In place of both steps, or of the second, or to show again that it is the same person."""
    asked = _asked_for_more(request)
    expected = user_of(request) if request.user.is_authenticated else asked
    form = PasskeyForm(request.POST)
    try:
        if not form.is_valid():
            raise SentinelError(Code.PASSKEY_REFUSED)
        user = passkeys.user_of(request, form.cleaned_data["credential"], expected=expected)
    except SentinelError as error:
        messages.error(request, error.text)
        step = "second_step" if asked is not None else "confirm" if request.user.is_authenticated else "login"
        return redirect(f"{reverse(f'accounts:{step}')}?{urlencode({'next': safe_next(request)})}")
    return _log_in(request, user, Factor.PASSKEY)


@require_http_methods(["GET", "POST"])
@never_cache
@signed_in
def confirm(request: HttpRequest) -> HttpResponse:
    """The password once more, before something that a thief of the session must not do."""
    user = user_of(request)
    form = ConfirmForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        if services.is_password_of(request, user, form.cleaned_data["password"]):
            sessions.confirm(request)
            return redirect(safe_next(request, "accounts:security"))
        form.add_error("password", WRONG_PASSWORD)
    context = {
        "form": form,
        "next": safe_next(request, "accounts:security"),
        "has_passkeys": user.passkeys.exists(),
        "passkeys_possible": passkeys.are_possible(request),
    }
    return render(request, "accounts/confirm.html", context, status=400 if form.is_bound else 200)


@require_GET
@never_cache
@signed_in
def security(request: HttpRequest) -> HttpResponse:
    """Everything about how safe the account is."""
    user = user_of(request)
    here = sessions.current(request)
    context = {
        "is_on": second_factor.is_on(user),
        "has_totp": second_factor.has_totp(user),
        "codes_left": second_factor.recovery_codes_left(user),
        "passkeys": user.passkeys.all(),
        "most_passkeys": passkeys.MAX_PASSKEYS,
        "passkeys_possible": passkeys.are_possible(request),
        "is_confirmed": sessions.is_confirmed(request),
        "browsers": [
            {"session": each, "name": device_name(each.user_agent), "is_here": here is not None and each.pk == here.pk}
            for each in sessions.sessions_of(user)
        ],
        "devices": tokens.sessions_of(user),
        "events": [{"event": each, "name": device_name(each.user_agent)} for each in security_log.newest_of(user)],
    }
    return render(request, "accounts/security.html", context)


@require_http_methods(["GET", "POST"])
@never_cache
@signed_in
@confirmed
def set_up_totp(request: HttpRequest) -> HttpResponse:
    """A code app: its secret as a picture and as text, and a code from it to show that it works."""
    user = user_of(request)
    form = CodeForm(request.POST if request.method == "POST" else None)
    status = 400 if form.is_bound else 200
    if form.is_valid():
        try:
            codes = second_factor.confirm_totp(request, user, form.cleaned_data["code"].replace(" ", ""))
        except SentinelError as error:
            form.add_error("code", error.errors.get("code", [error.text])[0])
            status = error.status
        else:
            messages.success(request, _("The code app is set up."))
            return _switched_on(request, user, Factor.TOTP, codes)
    secret = second_factor.begin_totp(user)
    context = {
        "form": form,
        "qr_code": second_factor.qr_code(user, secret),
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "uri": second_factor.uri_of(user, secret),
    }
    return render(request, "accounts/set_up_totp.html", context, status=status)


@require_POST
@signed_in
@confirmed
def remove_totp(request: HttpRequest) -> HttpResponse:
    second_factor.remove_totp(request, user_of(request))
    messages.success(request, _("The code app is removed."))
    return redirect("accounts:security")


@require_POST
@never_cache
@signed_in
@confirmed
def make_recovery_codes(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    if not second_factor.is_on(user):
        return redirect("accounts:security")
    return _show_codes(request, second_factor.make_recovery_codes(user, request=request))


@require_POST
@never_cache
@signed_in
@confirmed
def passkey_options(request: HttpRequest) -> HttpResponse:
    """For the script of the page, which hands it to the browser."""
    return JsonResponse(passkeys.begin_registration(request, user_of(request)))


@require_POST
@never_cache
@signed_in
@confirmed
def add_passkey(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    form = PasskeyForm(request.POST)
    try:
        if not form.is_valid():
            raise SentinelError(Code.PASSKEY_REFUSED)
        codes = passkeys.register(request, user, form.cleaned_data["credential"], form.cleaned_data["name"])
    except SentinelError as error:
        messages.error(request, error.text)
        return redirect("accounts:security")
    messages.success(request, _("The passkey is added."))
    return _switched_on(request, user, Factor.PASSKEY, codes)


@require_POST
@signed_in
@confirmed
def rename_passkey(request: HttpRequest, public_id: str) -> HttpResponse:
    if passkeys.rename(request, user_of(request), public_id, request.POST.get("name", "")):
        messages.success(request, _("The passkey has its new name."))
    return redirect("accounts:security")


@require_POST
@signed_in
@confirmed
def remove_passkey(request: HttpRequest, public_id: str) -> HttpResponse:
    if not passkeys.remove(request, user_of(request), public_id):
        return answer_error(request, SentinelError(Code.NOT_FOUND))
    messages.success(request, _("The passkey is removed."))
    return redirect("accounts:security")


@require_POST
@signed_in
def end_session(request: HttpRequest, public_id: str) -> HttpResponse:
    user = user_of(request)
    if not sessions.end(user, public_id):
        return answer_error(request, SentinelError(Code.NOT_FOUND))
    security_log.record(user, security_log.Event.SESSION_ENDED, request=request)
    messages.success(request, _("The browser is logged out."))
    return redirect("accounts:security")


@require_POST
@signed_in
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    """Everywhere but here: browsers and apps."""
    user = user_of(request)
    sessions.end_others(user, sessions.current(request))
    tokens.end_all_sessions(user)
    security_log.record(user, security_log.Event.SESSION_ENDED, request=request)
    messages.success(request, _("You are logged out everywhere but here."))
    return redirect("accounts:security")


class ChangePasswordView(auth.PasswordChangeView):
    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("accounts:password_change_done")
    form_class = ChangePasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        request, user = self.request, user_of(self.request)
        return {**super().get_form_kwargs(), "confirm": lambda typed: services.is_password_of(request, user, typed)}

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        security_log.record(user_of(self.request), security_log.Event.PASSWORD_CHANGED, request=self.request)
        return response


class ResetPasswordView(FormView[PasswordResetForm]):
    """Answers alike, and as fast, whether or not somebody has the address: see accounts/mails.py."""

    template_name = "accounts/password_reset.html"
    form_class = PasswordResetForm
    success_url = reverse_lazy("accounts:password_reset_done")

    def form_valid(self, form: PasswordResetForm) -> HttpResponse:
        try:
            hold_to(PerAddress, self.request)
        except SentinelError as error:
            return answer_error(self.request, error)
        mails.ask_for_new_password(self.request, form.cleaned_data["email"])
        return super().form_valid(form)


class SetNewPasswordView(auth.PasswordResetConfirmView):
    """Opens nothing by itself: whoever has the mailbox still needs the second factor to log in."""

    template_name = "accounts/password_reset_confirm.html"
    form_class = NewPasswordForm
    success_url = reverse_lazy("accounts:password_reset_complete")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        security_log.record(self.user, security_log.Event.PASSWORD_CHANGED, request=self.request)
        return response


def _asked_for_more(request: HttpRequest) -> User | None:
    """Who is to show a second factor: after the right password, or logged in without one."""
    if request.user.is_authenticated:
        user = user_of(request)
        return None if sessions.is_verified(request) or not second_factor.is_on(user) else user
    public_id, auth_hash, since = request.session.get(PENDING, ("", "", 0))
    if not 0 <= time.time() - since < PENDING_SECONDS:
        return None
    pending = User.objects.filter(public_id=public_id, is_active=True).first()
    # A password that was changed meanwhile is not the one that was given.
    if pending is None or not constant_time_compare(auth_hash, pending.get_session_auth_hash()):
        return None
    return pending


def _log_in(request: HttpRequest, user: User, factor: Factor) -> HttpResponse:
    """Log in, or raise the log-in there is, with a new session key either way."""
    target = safe_next(request)
    request.session.pop(PENDING, None)
    if request.user.is_authenticated:
        request.session.cycle_key()
        sessions.confirm(request)
    else:
        login(request, user, backend=BACKEND)
    sessions.mark_verified(request, factor)
    left = second_factor.recovery_codes_left(user)
    if factor is Factor.RECOVERY:
        text = _("You used a recovery code; %(left)s are left. If your phone is lost, remove it here.")
        messages.warning(request, text % {"left": left})
        return redirect("accounts:security")
    return redirect(target)


def _switched_on(request: HttpRequest, user: User, factor: Factor, codes: list[str]) -> HttpResponse:
    """After a second factor came: this log-in counts as verified by it, and all others, which are not, end."""
    request.session.cycle_key()
    sessions.mark_verified(request, factor)
    if not codes:
        return redirect("accounts:security")
    sessions.end_others(user, sessions.current(request))
    tokens.end_all_sessions(user)
    return _show_codes(request, codes)


def _show_codes(request: HttpRequest, codes: list[str]) -> HttpResponse:
    """Now and never again: only digests of them are kept."""
    return render(request, "accounts/recovery_codes.html", {"codes": codes, "text": "\r\n".join(codes)})
