from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangosUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import names
from accounts.ids import PublicIdField


class UserManager(DjangosUserManager["User"]):
    use_in_migrations = False

    def named(self, name: str) -> User | None:
        """Whose name this is, in whatever case and spelling; who has it letter for letter comes first.

        One query whether there is such an account or not, so that the time does not tell.
        """
        # No name has the NUL that PostgreSQL takes in no query.
        name = User.normalize_username(name.replace("\0", ""))
        found = self.filter(Q(username=name) | Q(username_key=names.key_of(name)))
        return min(found, key=lambda user: user.username != name, default=None)

    def get_by_natural_key(self, username: str | None) -> User:
        """Raises User.DoesNotExist. Django's commands ask by this whether a name is taken."""
        if (user := self.named(username or "")) is None:
            raise User.DoesNotExist
        return user


class User(AbstractUser):
    """Someone who may submit media. E-mail addresses are unique and kept in lower case.

    Names are unique too, and so are their keys, in which names that look alike are the same: `User.objects.named`.
    """

    username = models.CharField(
        _("username"),
        max_length=names.MAX_LENGTH,
        unique=True,
        help_text=names.NOT_ALLOWED,
        validators=[names.validate],
        error_messages={"unique": names.TAKEN},
    )
    username_key = names.UsernameKeyField()
    public_id = PublicIdField()
    email = models.EmailField(_("e-mail address"), unique=True)
    daily_limit = models.PositiveSmallIntegerField(
        _("daily limit"),
        null=True,
        blank=True,
        help_text=_("Classifications a day; empty for the site's default."),
    )
    language = models.CharField(
        _("language"), max_length=10, blank=True, help_text=_("A language code; empty to follow the browser.")
    )
    notify_by_email = models.BooleanField(
        _("e-mail when an examination ends"), default=False, help_text=_("To the address of this account.")
    )
    # Off unless asked for: a push message lies on the lock screen for everybody to read.
    notify_details = models.BooleanField(
        _("file names in push messages and e-mails"),
        default=False,
        help_text=_("Others may read a message on a locked screen. The result is never in it."),
    )
    # Set first when they delete their account: from then on nobody can log in, and whatever interrupts
    # the removal of their media, housekeeping completes it.
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        # MongoDB finds nothing by a unique index whose column may be empty.
        indexes = [models.Index(fields=["username_key"], name="users_by_key_of_name")]

    def clean(self) -> None:
        """For forms. Raises ValidationError for a name that looks like somebody else's."""
        super().clean()
        # Django's form for administrators leaves none where it found one wrong.
        key = names.key_of(self.username or "")
        is_without = self.username_key is None and not self._state.adding
        if key and not is_without and self.username_key not in {key, names.exact_key_of(self.username)}:
            others = User.objects.filter(Q(username_key=key) | Q(username__iexact=self.username)).exclude(pk=self.pk)
            if others.exists():
                raise ValidationError({"username": ValidationError(names.TAKEN, code="already_exists")})

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Whatever way a password is changed or an account deactivated, all devices are logged out by it."""
        self.email = self.email.lower()
        if (columns := kwargs.get("update_fields")) is not None and (
            "username" in columns or self.username_key is None
        ):
            kwargs["update_fields"] = {*columns, "username_key"}
        existed = not self._state.adding
        # Django keeps a password that was set in the clear until it is saved.
        password_changed = self._password is not None  # type: ignore[attr-defined]
        super().save(*args, **kwargs)
        if existed and (password_changed or not self.is_active):
            self.end_app_sessions()
            reason = WebSession.EndReason.PASSWORD if self.is_active else WebSession.EndReason.CLOSED
            self.web_sessions.filter(ended_at__isnull=True).update(ended_at=timezone.now(), end_reason=reason)

    def end_app_sessions(self) -> int:
        """Log all devices out; returns how many."""
        return self.app_sessions.filter(ended_at__isnull=True).update(ended_at=timezone.now())


class UsageEntry(models.Model):
    """One classification spent. A day has as many slots as the user's limit, each usable once.

    The unique constraint is what makes the limit exact: two requests that reach for the same slot at the same time
    cannot both get it, on any database, with or without transactions. Giving one back deletes its entry.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="usage", verbose_name=_("user"))
    day = models.DateField(_("day"))
    slot = models.PositiveSmallIntegerField(_("slot"))
    reference = models.CharField(_("reference"), max_length=24, unique=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("usage entry")
        verbose_name_plural = _("usage entries")
        constraints = [
            models.UniqueConstraint(fields=["user", "day", "slot"], name="one_use_per_slot"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.day} #{self.slot}"


class AppSession(models.Model):
    """A device on which somebody is logged in with tokens. All tokens of a log-in name it, and end with it."""

    public_id = PublicIdField()
    user = models.ForeignKey(User, models.CASCADE, related_name="app_sessions", verbose_name=_("user"))
    device = models.CharField(_("device"), max_length=200, blank=True)
    address = models.CharField(_("network address"), max_length=45, blank=True)
    created_at = models.DateTimeField(_("logged in"), default=timezone.now)
    last_used_at = models.DateTimeField(_("last used"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("app session")
        verbose_name_plural = _("app sessions")
        ordering = ["-last_used_at", "-id"]

    def __str__(self) -> str:
        return f"{self.device or self.public_id}"


class PushDevice(models.Model):
    """Where push messages for somebody go: a Web Push subscription (RFC 8030), its keys as RFC 8291 has them."""

    public_id = PublicIdField()
    user = models.ForeignKey(User, models.CASCADE, related_name="push_devices", verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=200, blank=True)
    endpoint = models.URLField(_("address of the push service"), max_length=500)
    p256dh = models.CharField(_("public key of the device"), max_length=100)
    auth = models.CharField(_("shared secret"), max_length=30)
    created_at = models.DateTimeField(_("registered"), default=timezone.now)

    class Meta:
        verbose_name = _("push device")
        verbose_name_plural = _("push devices")
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["user", "endpoint"], name="one_push_device_per_endpoint")]

    def __str__(self) -> str:
        return self.name or self.public_id


class Factor(models.TextChoices):
    """What besides, or in place of, the password showed who somebody is."""

    TOTP = "totp", _("Code from an app")
    RECOVERY = "recovery", _("Recovery code")
    PASSKEY = "passkey", _("Passkey")


class WebSession(models.Model):
    """A browser in which somebody is logged in. Its id lies in Django's session; once it has ended, that is empty."""

    class EndReason(models.TextChoices):
        LOGGED_OUT = "logged_out", _("Logged out")
        ENDED = "ended", _("Ended from elsewhere")
        IDLE = "idle", _("Not used for a long time")
        OLD = "old", _("Open for too long")
        # Django itself refuses the session then. The one in which the password was changed goes on.
        PASSWORD = "password", _("The password was changed")
        CLOSED = "closed", _("The account was closed")

    public_id = PublicIdField()
    user = models.ForeignKey(User, models.CASCADE, related_name="web_sessions", verbose_name=_("user"))
    user_agent = models.CharField(_("browser"), max_length=300, blank=True)
    address = models.CharField(_("network address"), max_length=45, blank=True)
    factor = models.CharField(_("second factor"), max_length=10, choices=Factor.choices, blank=True)
    created_at = models.DateTimeField(_("logged in"), default=timezone.now)
    last_used_at = models.DateTimeField(_("last used"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    end_reason = models.CharField(_("why it ended"), max_length=10, choices=EndReason.choices, blank=True)

    class Meta:
        verbose_name = _("web session")
        verbose_name_plural = _("web sessions")
        ordering = ["-last_used_at", "-id"]

    def __str__(self) -> str:
        return self.public_id


class SecondFactor(models.Model):
    """Somebody's authenticator app, and how often codes were guessed wrong.

    `last_step` is the 30-second step of the code that was accepted last: a later one is needed next. The counter of
    failures is raised before a code is looked at, by conditional updates, so that codes that come at the same time
    are not tried for the price of one, on any database.
    """

    user = models.OneToOneField(User, models.CASCADE, related_name="second_factor", verbose_name=_("user"))
    # Encrypted; see accounts/second_factor.py.
    secret = models.TextField(_("secret"), blank=True, editable=False)
    pending_secret = models.TextField(_("secret that is being set up"), blank=True, editable=False)
    confirmed_at = models.DateTimeField(_("set up"), null=True, blank=True)
    last_step = models.BigIntegerField(_("step of the last code"), default=-1)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    failures = models.PositiveIntegerField(_("wrong codes in a row"), default=0)
    failed_at = models.DateTimeField(_("last wrong code"), null=True, blank=True)

    class Meta:
        verbose_name = _("second factor")
        verbose_name_plural = _("second factors")

    def __str__(self) -> str:
        return str(self.user_id)


class RecoveryCode(models.Model):
    """A code for when the phone is lost, usable once. Only its digest is kept."""

    user = models.ForeignKey(User, models.CASCADE, related_name="recovery_codes", verbose_name=_("user"))
    digest = models.CharField(_("SHA-256"), max_length=64)
    created_at = models.DateTimeField(_("made"), default=timezone.now)
    used_at = models.DateTimeField(_("used"), null=True, blank=True)

    class Meta:
        verbose_name = _("recovery code")
        verbose_name_plural = _("recovery codes")
        constraints = [models.UniqueConstraint(fields=["user", "digest"], name="one_recovery_code_per_digest")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.digest[:8]}"


class Passkey(models.Model):
    """A key pair on somebody's device (WebAuthn); here is its public half. Binary values are in base64url."""

    public_id = PublicIdField()
    user = models.ForeignKey(User, models.CASCADE, related_name="passkeys", verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=60)
    # Up to 1023 bytes: too long for an index of its own, hence the digest.
    credential_id = models.TextField(_("credential id"), editable=False)
    credential_digest = models.CharField(_("SHA-256 of the credential id"), max_length=64, unique=True, editable=False)
    public_key = models.TextField(_("public key"), editable=False)
    sign_count = models.PositiveBigIntegerField(_("signatures so far"), default=0)
    backed_up = models.BooleanField(_("kept in a cloud"), default=False)
    created_at = models.DateTimeField(_("added"), default=timezone.now)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)

    class Meta:
        verbose_name = _("passkey")
        verbose_name_plural = _("passkeys")
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return self.name


class SecurityEvent(models.Model):
    """Something that matters for the safety of an account, as its owner and administrators see it. Never changed.

    `details` are short texts by name and never hold a password, a code or a token. The address is deleted after
    SENTINEL_ADDRESS_DAYS.
    """

    class Event(models.TextChoices):
        LOGGED_IN = "logged_in", _("Logged in")
        LOGGED_IN_APP = "logged_in_app", _("Logged in with an app")
        LOGGED_OUT = "logged_out", _("Logged out")
        SESSION_ENDED = "session_ended", _("Log-in ended from elsewhere")
        SESSION_TIMED_OUT = "session_timed_out", _("Log-in ran out")
        WRONG_PASSWORD = "wrong_password", _("Wrong password")
        LOCKED_OUT = "locked_out", _("Too many wrong passwords")
        WRONG_CODE = "wrong_code", _("Wrong code")
        CODE_USED_AGAIN = "code_used_again", _("A code was used again")
        WRONG_PASSKEY = "wrong_passkey", _("Passkey refused")
        PASSWORD_CHANGED = "password_changed", _("Password changed")
        PASSWORD_RESET_ASKED = "password_reset_asked", _("Link for a new password sent")
        EMAIL_CHANGED = "email_changed", _("E-mail address changed")
        TOTP_ADDED = "totp_added", _("Code app set up")
        TOTP_REMOVED = "totp_removed", _("Code app removed")
        PASSKEY_ADDED = "passkey_added", _("Passkey added")
        PASSKEY_RENAMED = "passkey_renamed", _("Passkey renamed")
        PASSKEY_REMOVED = "passkey_removed", _("Passkey removed")
        RECOVERY_CODES_MADE = "recovery_codes_made", _("New recovery codes made")
        RECOVERY_CODE_USED = "recovery_code_used", _("Recovery code used")
        SECOND_FACTOR_RESET = "second_factor_reset", _("Second factor reset by an administrator")
        ADMIN_LOOKED = "admin_looked", _("Looked at in the administration")
        ADMIN_ACTED = "admin_acted", _("Done in the administration")

    user = models.ForeignKey(
        User, models.CASCADE, null=True, blank=True, related_name="security_events", verbose_name=_("account")
    )
    event = models.CharField(_("event"), max_length=24, choices=Event.choices)
    # Stays readable when the administrator's account is gone.
    actor = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("administrator")
    )
    actor_name = models.CharField(_("administrator’s name"), max_length=150, blank=True)
    address = models.CharField(_("network address"), max_length=45, blank=True)
    user_agent = models.CharField(_("browser"), max_length=300, blank=True)
    details = models.JSONField(_("details"), default=dict, blank=True)
    at = models.DateTimeField(_("time"), default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("security event")
        verbose_name_plural = _("security log")
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["user", "-at"], name="security_log_of_a_user")]

    def __str__(self) -> str:
        return f"{self.event} {self.at:%Y-%m-%d %H:%M}"


class AccountMail(models.Model):
    """A mail about an account on its way to its owner. The row goes when it is sent: see accounts/mails.py.

    It names no account, so that it is sent too when the account is deleted meanwhile, whoever did that. Nobody is
    shown these rows.
    """

    class Kind(models.TextChoices):
        SECURITY = "security"
        PASSWORD_RESET = "password_reset"  # noqa: S105 -- a kind of mail

    class Status(models.TextChoices):
        WAITING = "waiting"
        SENDING = "sending"

    public_id = PublicIdField()
    kind = models.CharField(max_length=14, choices=Kind.choices)
    to = models.EmailField()
    language = models.CharField(max_length=10, blank=True)
    # What a mail of the first kind says.
    name = models.CharField(max_length=150, blank=True)
    event = models.CharField(max_length=24, blank=True)
    # Where the site was asked for the link, with which the link begins.
    site = models.CharField(max_length=300, blank=True)
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    claim_token = models.CharField(max_length=24, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    handed_over_at = models.DateTimeField(null=True, blank=True)
    next_try_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["created_at", "id"]
        indexes = [models.Index(fields=["status", "next_try_at"], name="account_mails_due")]

    def __str__(self) -> str:
        return f"{self.kind} {self.created_at:%Y-%m-%d %H:%M}"
