from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.utils.translation import gettext_lazy as _

from accounts.limits import limit_of, remaining
from accounts.models import UsageEntry, User


@admin.register(User)
class SentinelUserAdmin(UserAdmin):  # type: ignore[type-arg]
    list_display = ("username", "email", "public_id", "limit", "left_today", "is_staff", "is_active", "last_login")
    search_fields = ("username", "email", "public_id", "first_name", "last_name")
    readonly_fields = ("public_id", "last_login", "date_joined", "left_today")
    fieldsets = (
        (None, {"fields": ("public_id", "username", "password")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (_("Limits"), {"fields": ("daily_limit", "left_today")}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "email", "usable_password", "password1", "password2")}),
    )

    @admin.display(description=_("daily limit"))
    def limit(self, user: User) -> int:
        return limit_of(user)

    @admin.display(description=_("left today"))
    def left_today(self, user: User) -> int:
        return remaining(user)


@admin.register(UsageEntry)
class UsageEntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("user", "day", "slot", "reference", "created_at")
    list_filter = ("day",)
    search_fields = ("user__username", "user__email", "reference")
    raw_id_fields = ("user",)

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False

    def has_add_permission(self, request: object) -> bool:
        return False
