"""What the bot knows: all of it is here, so that it can be killed at any line and go on."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import PublicIdField, new_public_id
from media_analysis.models import Analysis

REFERENCE_LENGTH = 8


class BotState(models.Model):
    """How far the bot is: one row, named ``bot``."""

    name = models.CharField(max_length=8, unique=True, default="bot", editable=False)
    paused = models.BooleanField(
        _("paused"), default=False, help_text=_("Reads and sends nothing. Nothing is lost: it goes on from there.")
    )
    # The newest mention of which it and all older ones are in the table.
    since_id = models.BigIntegerField(_("newest mention read"), null=True, blank=True, editable=False)
    started_at = models.DateTimeField(_("first start"), default=timezone.now, editable=False)
    polled_at = models.DateTimeField(_("mentions last read"), null=True, blank=True, editable=False)
    seen_at = models.DateTimeField(_("last sign of life"), null=True, blank=True, editable=False)
    # X says how long to wait for each kind of request by itself.
    read_after = models.DateTimeField(_("reads again after"), null=True, blank=True, editable=False)
    reply_after = models.DateTimeField(_("replies again after"), null=True, blank=True, editable=False)
    message_after = models.DateTimeField(_("sends messages again after"), null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(_("reads failed in a row"), default=0, editable=False)
    last_error = models.CharField(_("last error"), max_length=64, blank=True, editable=False)

    class Meta:
        verbose_name = _("state of the bot")
        verbose_name_plural = _("state of the bot")

    def __str__(self) -> str:
        return self.name


class MonthlyUse(models.Model):
    """What was read from X and sent to it in one month, of which it bills each."""

    month = models.CharField(_("month"), max_length=7, unique=True)
    reads = models.PositiveIntegerField(_("read"), default=0)
    posts = models.PositiveIntegerField(_("sent"), default=0)
    requests = models.PositiveIntegerField(_("requests"), default=0)

    class Meta:
        verbose_name = _("use in a month")
        verbose_name_plural = _("use by month")
        ordering = ["-month"]

    def __str__(self) -> str:
        return self.month


class XAccount(models.Model):
    """Somebody on X, and whose account here that is.

    ``user`` is empty until something of theirs is examined; then it is an account that nobody can log in to, until
    they join it with one of their own (see :mod:`twitterbot.linking`).
    """

    twitter_id = models.BigIntegerField(_("id on X"), unique=True)
    handle = models.CharField(_("name on X"), max_length=50, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="x_accounts",
        verbose_name=_("user"),
    )
    # Whose files still have to be moved to `user`, after the two were joined.
    former_user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("former user"),
    )
    opted_out_at = models.DateTimeField(_("wants no answers since"), null=True, blank=True)
    blocked = models.BooleanField(_("blocked"), default=False, help_text=_("Gets no answers, and is not told why."))
    code_digest = models.CharField(_("digest of the code"), max_length=64, blank=True, editable=False)
    code_expires_at = models.DateTimeField(_("code holds until"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("first seen"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("account on X")
        verbose_name_plural = _("accounts on X")
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["code_digest"], name="x_account_by_code")]

    def __str__(self) -> str:
        return f"@{self.handle}" if self.handle else str(self.twitter_id)


class LinkAttempt(models.Model):
    """Somebody entered a code that was none: so many an hour are allowed."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("user"))
    created_at = models.DateTimeField(_("time"), default=timezone.now)

    class Meta:
        verbose_name = _("wrong code")
        verbose_name_plural = _("wrong codes")
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["user", "created_at"], name="link_attempts_of_user")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.created_at:%F %T}"


class Mention(models.Model):
    """A post that tags the bot, with all that has to be known of it to answer. Its text is not kept."""

    class Status(models.TextChoices):
        NEW = "new", _("new")
        EXAMINING = "examining", _("being examined")
        ANSWERED = "answered", _("answered")
        REFUSED = "refused", _("refused")
        IGNORED = "ignored", _("not answered")

    class Command(models.TextChoices):
        STOP = "stop", _("wants no more answers")
        START = "start", _("wants answers again")
        LINK = "link", _("wants a code")

    tweet_id = models.BigIntegerField(_("post"), unique=True)
    account = models.ForeignKey(XAccount, models.CASCADE, related_name="mentions", verbose_name=_("account on X"))
    conversation_id = models.BigIntegerField(_("conversation"))
    language = models.CharField(_("language"), max_length=10)
    posted_at = models.DateTimeField(_("posted"))
    command = models.CharField(_("word of command"), max_length=8, choices=Command, blank=True)
    # What is to be examined: an address on one of X's servers for media, and what X says of the post that it is in.
    media_url = models.CharField(_("address of the media"), max_length=1000, blank=True)
    claims = models.JSONField(_("what X says of it"), default=dict, blank=True)
    # Others whom an answer would call too, but who did not ask for any.
    bystanders = models.JSONField(_("others in the conversation"), default=list, blank=True)
    # Why nothing is examined: a code of accounts.errors or twitterbot.reading.
    problem = models.CharField(_("reason"), max_length=32, blank=True)
    status = models.CharField(_("status"), max_length=12, choices=Status, default=Status.NEW)
    analysis = models.ForeignKey(
        Analysis, models.SET_NULL, null=True, blank=True, related_name="mentions", verbose_name=_("analysis")
    )
    created_at = models.DateTimeField(_("read"), default=timezone.now)

    class Meta:
        verbose_name = _("mention")
        verbose_name_plural = _("mentions")
        ordering = ["-tweet_id"]
        indexes = [
            models.Index(fields=["status", "tweet_id"], name="mentions_to_handle"),
            models.Index(fields=["account", "created_at"], name="mentions_of_account"),
        ]

    def __str__(self) -> str:
        return str(self.tweet_id)


def new_reference() -> str:
    """Eight hexadecimal characters by which a message that was sent is known again."""
    return new_public_id()[:REFERENCE_LENGTH]


class Reply(models.Model):
    """One message to X for one mention: a public reply or a direct message. The rows are the queue: see ``outbox``."""

    class Kind(models.TextChoices):
        REPLY = "reply", _("reply")
        DIRECT = "direct", _("direct message")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENDING = "sending", _("being sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")
        DROPPED = "dropped", _("not wanted any more")

    public_id = PublicIdField()
    mention = models.ForeignKey(Mention, models.CASCADE, related_name="replies", verbose_name=_("mention"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    reference = models.CharField(_("reference"), max_length=REFERENCE_LENGTH, default=new_reference, editable=False)
    text = models.TextField(_("text"))
    # A code to join accounts: not to be read by anybody else once it is sent.
    secret = models.BooleanField(_("secret"), default=False)
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.WAITING)
    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), default=timezone.now)
    claim_token = models.CharField(_("claim"), max_length=24, blank=True, editable=False)
    claimed_at = models.DateTimeField(_("claimed"), null=True, blank=True, editable=False)
    # Just before it goes out. From here on nobody knows whether X has it, until X says so.
    handed_over_at = models.DateTimeField(_("handed over"), null=True, blank=True, editable=False)
    sent_id = models.BigIntegerField(_("id on X"), null=True, blank=True)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    error = models.CharField(_("error"), max_length=32, blank=True)
    created_at = models.DateTimeField(_("written"), default=timezone.now)

    class Meta:
        verbose_name = _("answer")
        verbose_name_plural = _("answers")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["mention", "kind"], name="one_answer_of_a_kind_per_mention")]
        indexes = [
            models.Index(fields=["status", "next_try_at"], name="answers_due"),
            models.Index(fields=["kind", "sent_at"], name="answers_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.mention} {self.kind}"
