from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from twitterbot import budget, services
from twitterbot.health import counts
from twitterbot.models import BotState, Mention, MonthlyUse, Reply, XAccount


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What happened is looked at here, not changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(BotState)
class BotStateAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """How the bot is, and the switch that pauses it."""

    list_display = ("name", "paused", "seen_at", "polled_at", "last_error")
    fields = (
        "paused",
        "seen_at",
        "polled_at",
        "last_error",
        "failures",
        "read_after",
        "reply_after",
        "message_after",
        "mentions",
        "replies",
        "direct_messages",
        "this_month",
    )
    readonly_fields = fields[1:]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BotState]:
        # There from the start, so that the bot can be paused before it ever ran.
        services.state()
        return super().get_queryset(request)

    def save_model(self, request: HttpRequest, obj: BotState, form: Any, change: bool) -> None:
        """Only the switch: the bot writes the rest meanwhile."""
        BotState.objects.filter(pk=obj.pk).update(paused=obj.paused)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.display(description=_("mentions"))
    def mentions(self, state: BotState) -> SafeString:
        return _listed(counts()["mentions"], Mention.Status)

    @admin.display(description=_("replies"))
    def replies(self, state: BotState) -> SafeString:
        return _listed(counts()[Reply.Kind.REPLY], Reply.Status)

    @admin.display(description=_("direct messages"))
    def direct_messages(self, state: BotState) -> SafeString:
        return _listed(counts()[Reply.Kind.DIRECT], Reply.Status)

    @admin.display(description=_("this month"))
    def this_month(self, state: BotState) -> str:
        use = budget.this_month()
        return _("%(reads)s of %(most_reads)s read, %(posts)s of %(most_posts)s sent") % {
            "reads": use.reads,
            "most_reads": settings.TWITTER_MONTHLY_READS or "∞",
            "posts": use.posts,
            "most_posts": settings.TWITTER_MONTHLY_POSTS or "∞",
        }


@admin.register(MonthlyUse)
class MonthlyUseAdmin(ReadOnlyAdmin):
    list_display = ("month", "reads", "posts", "requests")


@admin.register(XAccount)
class XAccountAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("handle", "twitter_id", "user", "blocked", "opted_out_at", "created_at")
    list_filter = ("blocked", ("opted_out_at", admin.EmptyFieldListFilter))
    search_fields = ("handle", "twitter_id", "user__username", "user__email")
    list_select_related = ("user",)
    fields = ("twitter_id", "handle", "user", "blocked", "opted_out_at", "created_at")
    actions = ("block", "unblock")

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> tuple[str, ...]:
        """Somebody may be shut out before they ever asked; who is who is theirs to say."""
        kept = ("user", "opted_out_at", "created_at")
        return kept if obj is None else ("twitter_id", "handle", *kept)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.action(description=_("Block: gets no answers"), permissions=["change"])
    def block(self, request: HttpRequest, queryset: QuerySet[XAccount]) -> None:
        queryset.update(blocked=True)
        self.message_user(request, _("They get no more answers."), messages.SUCCESS)

    @admin.action(description=_("Unblock: gets answers again"), permissions=["change"])
    def unblock(self, request: HttpRequest, queryset: QuerySet[XAccount]) -> None:
        queryset.update(blocked=False)
        self.message_user(request, _("They get answers again."), messages.SUCCESS)


class HidesCodes:
    """Shows the text of an answer, but no code: whoever reads that could take somebody's results."""

    @admin.display(description=_("text"))
    def shown_text(self, reply: Reply) -> str:
        return "" if reply.secret else reply.text


class ReplyInline(HidesCodes, admin.TabularInline):  # type: ignore[type-arg]
    model = Reply
    extra = 0
    can_delete = False
    fields = ("kind", "status", "shown_text", "attempts", "next_try_at", "sent_id", "sent_at", "error")
    readonly_fields = ("shown_text",)

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Mention)
class MentionAdmin(ReadOnlyAdmin):
    list_display = ("tweet_id", "account", "status", "problem", "command", "language", "analysis", "posted_at")
    list_filter = ("status", "problem", "command", "language", "posted_at")
    search_fields = ("tweet_id", "account__handle", "account__twitter_id", "analysis__public_id")
    list_select_related = ("account", "analysis")
    date_hierarchy = "posted_at"
    inlines = (ReplyInline,)


@admin.register(Reply)
class ReplyAdmin(HidesCodes, ReadOnlyAdmin):
    list_display = ("mention", "kind", "status", "attempts", "error", "next_try_at", "sent_at")
    list_filter = ("kind", "status", "error", "sent_at")
    search_fields = ("mention__tweet_id", "mention__account__handle", "reference", "sent_id")
    list_select_related = ("mention",)
    fields = ("mention", "kind", "status", "shown_text", "attempts", "next_try_at", "sent_id", "sent_at", "error")
    readonly_fields = ("shown_text",)


def _listed(counted: dict[str, int], statuses: Any) -> SafeString:
    """Each state by its name with its number."""
    rows = ((statuses(name).label, number) for name, number in counted.items())
    return format_html_join(", ", "{}: {}", rows) or SafeString("–")
