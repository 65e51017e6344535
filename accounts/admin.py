from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import second_factor, security_log, sessions, tokens
from accounts.addresses import device_name
from accounts.forms import LanguageField
from accounts.limits import limit_of, remaining
from accounts.models import AppSession, PushDevice, SecurityEvent, UsageEntry, User, WebSession
from accounts.services import close_account


@admin.register(User)
class SentinelUserAdmin(UserAdmin):  # type: ignore[type-arg]
    list_display = ("username", "email", "public_id", "limit", "left_today", "is_staff", "is_active", "last_login")
    search_fields = ("username", "email", "public_id", "first_name", "last_name")
    readonly_fields = ("public_id", "last_login", "date_joined", "left_today", "second_factor")
    actions = ("reset_second_factor",)
    fieldsets = (
        (None, {"fields": ("public_id", "username", "password", "second_factor")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email", "language")}),
        (_("Limits"), {"fields": ("daily_limit", "left_today")}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "email", "usable_password", "password1", "password2")}),
    )

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and not _is_above(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not _is_above(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """What somebody may do is for superusers to say: whoever could would be one."""
        fixed = () if _is_superuser(request) else ("is_staff", "is_superuser", "groups", "user_permissions")
        return (*super().get_readonly_fields(request, obj), *fixed)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        before = User.objects.filter(pk=obj.pk).values_list("email", flat=True).first() if change else None
        super().save_model(request, obj, form, change)
        if before is not None and before != obj.email:
            self._tell(request, obj, security_log.Event.EMAIL_CHANGED, email=before)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        response = super().user_change_password(request, id, form_url)
        user = self.get_object(request, unquote(id))
        # As after every form of Django's administration that was accepted.
        if user is not None and request.method == "POST" and response.status_code == 302:
            self._tell(request, user, security_log.Event.PASSWORD_CHANGED)
        return response

    def _tell(self, request: HttpRequest, user: User, event: security_log.Event, *, email: str = "") -> None:
        """Its owner hears of it as if they had done it, and the log says who did."""
        actor = cast(User, request.user)
        security_log.record(user, event, request=request, actor=None if actor == user else actor, email=email)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **options: Any) -> Any:
        if db_field.name == "language":
            return LanguageField()
        return super().formfield_for_dbfield(db_field, request, **options)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Whoever may delete an account may delete what is in it, though nobody edits that here piece by piece."""
        shown, counts, _needed, protected = super().get_deleted_objects(objs, request)
        above = {str(self.opts.verbose_name)} if any(_is_above(request, user) for user in objs) else set()
        return shown, counts, above, protected

    def delete_model(self, request: HttpRequest, user: User) -> None:
        """As if they had deleted their account: housekeeping removes the files too, which a cascade would leave."""
        close_account(user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            close_account(user)

    def has_reset_second_factor_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_user")

    @admin.action(description=_("Reset the second factor, after a lost phone"), permissions=["reset_second_factor"])
    def reset_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Whoever asks for it has shown who they are to the administrator, as nobody can to the site."""
        actor = cast(User, request.user)
        count = 0
        for user in queryset:
            if user.is_superuser and not actor.is_superuser:
                self.message_user(request, _("Only a superuser does this for a superuser."), messages.ERROR)
            elif second_factor.reset(user, actor=actor, request=request):
                sessions.end_others(user, sessions.current(request) if user == actor else None)
                tokens.end_all_sessions(user)
                self.log_change(request, user, "Reset the second factor")
                count += 1
        text = ngettext(
            "%(count)d account logs in by password alone again.",
            "%(count)d accounts log in by password alone again.",
            count,
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS if count else messages.WARNING)

    @admin.display(description=_("second factor"))
    def second_factor(self, user: User) -> str:
        kinds = [_("Code app")] if second_factor.has_totp(user) else []
        kinds += [_("Passkey")] * user.passkeys.count()
        return ", ".join(str(kind) for kind in kinds) or "-"

    @admin.display(description=_("daily limit"))
    def limit(self, user: User) -> int:
        return limit_of(user)

    @admin.display(description=_("left today"))
    def left_today(self, user: User) -> int:
        return remaining(user)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def _is_above(request: HttpRequest, user: User | None) -> bool:
    """Whether only superusers may change this account: whose password one can set, their rights one has."""
    return user is not None and (user.is_staff or user.is_superuser) and not _is_superuser(request)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """To be looked at. What may be done is an action."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(UsageEntry)
class UsageEntryAdmin(ReadOnlyAdmin):
    list_display = ("user", "day", "slot", "reference", "created_at")
    list_filter = ("day",)
    search_fields = ("user__username", "user__email", "reference")
    raw_id_fields = ("user",)


@admin.register(AppSession)
class AppSessionAdmin(ReadOnlyAdmin):
    list_display = ("user", "device", "created_at", "last_used_at", "ended_at")
    list_filter = ("ended_at", "last_used_at")
    search_fields = ("user__username", "user__email", "device", "public_id")
    list_select_related = ("user",)
    actions = ("end_sessions",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_end_sessions_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_appsession")

    @admin.action(description=_("Log these devices out"), permissions=["end_sessions"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[AppSession]) -> None:
        sessions = queryset.filter(ended_at__isnull=True)
        for session in sessions:
            tokens.end_session(session.public_id)
        self.message_user(request, _("The devices are logged out."), messages.SUCCESS)


@admin.register(PushDevice)
class PushDeviceAdmin(ReadOnlyAdmin):
    list_display = ("user", "name", "push_service", "created_at")
    search_fields = ("user__username", "user__email", "name", "public_id")
    list_select_related = ("user",)
    # Who has the rest could send messages in our place.
    fields = ("public_id", "user", "name", "push_service", "created_at")

    @admin.display(description=_("push service"))
    def push_service(self, device: PushDevice) -> str:
        return urlsplit(device.endpoint).netloc


@admin.register(WebSession)
class WebSessionAdmin(ReadOnlyAdmin):
    list_display = ("user", "browser", "address", "factor", "created_at", "last_used_at", "ended_at", "end_reason")
    list_filter = ("factor", "end_reason", "last_used_at")
    search_fields = ("user__username", "user__email", "address", "public_id")
    list_select_related = ("user",)
    actions = ("end_sessions",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_end_sessions_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_websession")

    @admin.display(description=_("browser"))
    def browser(self, session: WebSession) -> str:
        return device_name(session.user_agent)

    @admin.action(description=_("Log these browsers out"), permissions=["end_sessions"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[WebSession]) -> None:
        for session in queryset.select_related("user"):
            sessions.end(session.user, session.public_id)
        self.message_user(request, _("The browsers are logged out."), messages.SUCCESS)


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    """Nobody changes or deletes here what happened; age does: see SENTINEL_SECURITY_LOG_DAYS."""

    list_display = ("at", "event", "user", "actor_name", "address", "told")
    list_filter = ("event", "at")
    search_fields = ("user__username", "user__email", "actor_name", "address")
    list_select_related = ("user",)
    date_hierarchy = "at"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("details"))
    def told(self, event: SecurityEvent) -> str:
        return ", ".join(f"{name}: {value}" for name, value in event.details.items())


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """What administrators added, changed and deleted, as Django itself writes it down."""

    list_display = ("action_time", "user", "content_type", "object_repr", "action_flag", "what")
    list_filter = ("action_flag", "content_type", "action_time")
    search_fields = ("user__username", "object_repr", "object_id")
    list_select_related = ("user", "content_type")
    date_hierarchy = "action_time"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("what changed"))
    def what(self, entry: LogEntry) -> str:
        return entry.get_change_message()
