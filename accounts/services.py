"""Everything that is done with accounts: sign-up, log-in, changes, farewell. Pages and API call the same."""

from __future__ import annotations

from collections.abc import Mapping

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.signals import user_logged_in
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.forms.models import ModelForm, model_to_dict
from django.http import HttpRequest
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from accounts import lockout, second_factor, security_log, sessions, tokens
from accounts.addresses import address_of
from accounts.errors import Code, SentinelError
from accounts.forms import TAKEN, WRONG_PASSWORD, LogInForm, ProfileForm, SignUpForm
from accounts.models import User
from accounts.tokens import CHALLENGE, TokenPair

FieldErrors = dict[str, list[str]]


def sign_up(fields: Mapping[str, str], *, wrong: FieldErrors | None = None) -> User:
    """Make an account of `username`, `email`, `password` and `language`, by the rules of the web form.

    `wrong` are fields that were found wrong before, such as numbers in place of text. Raises ``invalid_field`` or
    ``already_exists``, with what is wrong with each field.
    """
    password = fields.get("password", "")
    form = SignUpForm({**fields, "password1": password, "password2": password})
    require_valid(form, wrong=wrong, names={"password1": "password", "password2": "password"})
    return save(form)


def change_profile(
    request: HttpRequest, user: User, fields: Mapping[str, str], *, wrong: FieldErrors | None = None
) -> User:
    """Change what is given of first and last name, language and, with `current_password`, e-mail address.

    Raises as :func:`sign_up` does.
    """
    form = ProfileForm(
        {**model_to_dict(user, ProfileForm.Meta.fields), **fields},
        # Checking a form writes into its user: not into the one that asks.
        instance=User.objects.get(pk=user.pk),
        confirm=lambda password: is_password_of(request, user, password),
    )
    require_valid(form, wrong=wrong)
    saved = save(form)
    note_changes(request, saved, form)
    return saved


def note_changes(request: HttpRequest, user: User, form: ModelForm[User]) -> None:
    """Write into the security log what matters of a changed profile."""
    if form.initial.get("email", user.email) != user.email:
        security_log.record(user, security_log.Event.EMAIL_CHANGED, request=request, email=form.initial["email"])


def choose_language(user: User, language: str) -> None:
    """Keep a language in the account, if the site has it."""
    if language in dict(settings.LANGUAGES):
        User.objects.filter(pk=user.pk).update(language=language)


def require_valid(
    form: ModelForm[User], *, wrong: FieldErrors | None = None, names: Mapping[str, str] | None = None
) -> None:
    """Raises ``already_exists`` if nothing is wrong but that somebody has it, ``invalid_field`` for anything else.

    `names` are the names of the form's fields elsewhere.
    """
    errors: FieldErrors = dict(wrong or {})
    only_taken = not errors
    for field, found in form.errors.as_data().items():
        name = (names or {}).get(field, field)
        if name in (wrong or {}):
            continue
        texts = [text for error in found for text in error.messages]
        errors[name] = list(dict.fromkeys([*errors.get(name, []), *texts]))
        only_taken = only_taken and all(error.code in TAKEN for error in found)
    if errors:
        raise SentinelError(Code.ALREADY_EXISTS if only_taken else Code.INVALID_FIELD, errors=errors)


def save(form: ModelForm[User]) -> User:
    """Save a valid form about an account. Raises ``already_exists`` where a parallel request was faster."""
    try:
        with transaction.atomic():
            return form.save()
    except IntegrityError as error:
        raise SentinelError(Code.ALREADY_EXISTS) from error


def log_in(
    request: HttpRequest, *, password: str, username: str = "", email: str = "", device: str = "", otp: str = ""
) -> tuple[User, TokenPair]:
    """Begin a session of the account that all given names belong to.

    Raises ``not_authenticated`` with one text, after one and the same work, for a wrong password and for an account
    that is not there or not active. After repeated failures the answer becomes 429: see :mod:`accounts.lockout`.
    An account with a second factor needs a code in `otp` too: without a right one, ``second_factor_required``.
    """
    names = {"username": username, "email": email}
    user = authenticate(request, **{name: given for name, given in names.items() if given}, password=password)
    if not isinstance(user, User):
        text = LogInForm.error_messages["invalid_login"]
        raise SentinelError(Code.NOT_AUTHENTICATED, text=text, headers=CHALLENGE)
    if second_factor.is_on(user):
        if not otp:
            raise SentinelError(Code.SECOND_FACTOR_REQUIRED, headers=CHALLENGE)
        second_factor.check_code(request, user, otp)
    user_logged_in.send(sender=User, request=request, user=user, app=True)
    return user, tokens.log_in(user, device=device, address=address_of(request))


def is_password_of(request: HttpRequest, user: User, password: str) -> bool:
    """Whether it is the password. Wrong ones count as failed log-ins: a stolen session is no place to guess."""
    return authenticate(request, email=user.email, password=password) == user


def change_password(request: HttpRequest, user: User, *, old: str, new: str) -> None:
    """Set a new password, which logs all devices out. Raises ``invalid_field`` with what is wrong with which."""
    errors: FieldErrors = {}
    if not is_password_of(request, user, old):
        errors["old_password"] = [str(WRONG_PASSWORD)]
    try:
        validate_password(new, user)
    except ValidationError as error:
        errors["new_password"] = list(error.messages)
    if errors:
        raise SentinelError(Code.INVALID_FIELD, errors=errors)
    user.set_password(new)
    user.save(update_fields=["password"])
    security_log.record(user, security_log.Event.PASSWORD_CHANGED, request=request)


def close_account(user: User) -> None:
    """Delete an account: from now on nobody can use it, and housekeeping removes it with everything in it.

    The rest is done by ``media_analysis.account_deletion``, within seconds, and again after any interruption.
    """
    User.objects.filter(pk=user.pk, deleted_at__isnull=True).update(deleted_at=timezone.now(), is_active=False)
    tokens.end_all_sessions(user)
    sessions.end_others(user, None)


def remove_account(user: User) -> None:
    """Remove an account and everything that names it. What it has elsewhere must be gone by now."""
    OutstandingToken.objects.filter(user=user).delete()
    counted = Q(username=lockout.counted_name_of(user)) | Q(username__iexact=user.username)
    for trace in (AccessAttempt, AccessFailureLog, AccessLog):
        trace.objects.filter(counted | Q(username__iexact=user.email)).delete()
    about_users = ContentType.objects.get_for_model(User)
    LogEntry.objects.filter(content_type=about_users, object_id=str(user.pk)).delete()
    user.delete()


def forget_ended() -> None:
    """Delete the rows of sessions and tokens that are over, of failures that count no more, and what is old in the
    security log."""
    lockout.forget_old()
    tokens.forget_ended()
    sessions.forget_ended()
    security_log.forget_old()
    SessionStore.clear_expired()
