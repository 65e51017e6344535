"""The pages about one's account."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from django.views.generic import FormView
from django.views.i18n import set_language

from accounts import limits, security_log, services, tokens
from accounts.answers import answer_error
from accounts.errors import Code, SentinelError
from accounts.forms import DeleteAccountForm, ProfileForm, SignUpForm
from accounts.language import activate_language_of
from accounts.models import User
from accounts.password_rules import rules_met
from accounts.security_views import safe_next
from accounts.signed_in import signed_in
from accounts.throttles import PasswordChecksPerAddress, SignUpPerAddress, hold_to

# More of a password is not looked at while it is typed; it is too long by far.
MAX_CHECKED = 1000


class SignUpView(FormView[SignUpForm]):
    template_name = "accounts/signup.html"
    form_class = SignUpForm
    success_url = reverse_lazy("home")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Those that are refused count too: they say which names and addresses somebody has.
        try:
            hold_to(SignUpPerAddress, request)
        except SentinelError as error:
            return answer_error(request, error)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        try:
            user = services.save(form)
        except SentinelError as error:
            form.add_error(None, error.text)
            return self.form_invalid(form)
        login(self.request, user, backend="accounts.backends.UsernameOrEmailBackend")
        return super().form_valid(form)


@require_POST
@never_cache
@sensitive_post_parameters("password")
def check_password(request: HttpRequest) -> HttpResponse:
    """For the script beside a new password: which rules it meets so far. Nothing of it is kept."""
    try:
        hold_to(PasswordChecksPerAddress, request)
    except SentinelError as error:
        return answer_error(request, error)
    user: Any = request.user
    if not user.is_authenticated:
        names = {name: request.POST[name][:254] for name in ("username", "email") if request.POST.get(name)}
        user = User(**names) if names else None
    return JsonResponse({"met": rules_met(request.POST.get("password", "")[:MAX_CHECKED], user)})


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Go on in another language, which a cookie keeps, and the account of those who are logged in."""
    if request.user.is_authenticated:
        services.choose_language(request.user, request.POST.get("language", ""))
    return set_language(request)


@require_http_methods(["GET", "POST"])
@never_cache
@signed_in
def account(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    form = ProfileForm(
        request.POST if request.method == "POST" else None,
        # Checking a form writes into its user: not into the one that the page's header shows.
        instance=User.objects.get(pk=user.pk),
        confirm=lambda password: services.is_password_of(request, user, password),
    )
    if form.is_valid():
        try:
            changed = services.save(form)
            services.note_changes(request, changed, form)
            activate_language_of(changed)
        except SentinelError as error:
            form.add_error(None, error.text)
        else:
            messages.success(request, _("Your account is changed."))
            return redirect("accounts:account")
    context = {
        "form": form,
        "daily_limit": limits.limit_of(user),
        "remaining": limits.remaining(user),
        "resets_at": limits.next_reset(),
        "devices": tokens.sessions_of(user),
        "bot_on_x": settings.TWITTER_HANDLE,
    }
    return render(request, "accounts/account.html", context, status=400 if form.is_bound else 200)


@require_POST
@signed_in
def end_device(request: HttpRequest, public_id: str) -> HttpResponse:
    user: Any = request.user
    device = tokens.sessions_of(user).filter(public_id=public_id).first()
    if device is None:
        return answer_error(request, SentinelError(Code.NOT_FOUND))
    tokens.end_session(device.public_id)
    security_log.record(user, security_log.Event.SESSION_ENDED, request=request, device=device.device)
    messages.success(request, _("The device is logged out."))
    return redirect(safe_next(request, "accounts:account"))


@require_POST
@signed_in
def end_all_devices(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    tokens.end_all_sessions(user)
    security_log.record(user, security_log.Event.SESSION_ENDED, request=request)
    messages.success(request, _("All devices are logged out."))
    return redirect("accounts:account")


@require_http_methods(["GET", "POST"])
@never_cache
@signed_in
def delete(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    form = DeleteAccountForm(
        request.POST if request.method == "POST" else None,
        confirm=lambda password: services.is_password_of(request, user, password),
    )
    if not form.is_valid():
        return render(request, "accounts/delete.html", {"form": form}, status=400 if form.is_bound else 200)
    services.close_account(user)
    logout(request)
    messages.success(request, _("Your account is deleted. Everything in it is being removed."))
    return redirect("home")
