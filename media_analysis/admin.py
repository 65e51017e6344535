from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from media_analysis import services
from media_analysis.errors import SentinelError
from media_analysis.models import Analysis, DeletionReceipt, Media, Submission


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What happened is looked at here, not changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Media)
class MediaAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "original_name", "owner", "kind", "duration", "size", "created_at", "deleted_at")
    list_filter = ("kind", "codec", "created_at")
    search_fields = ("public_id", "original_name", "sha256", "md5", "owner__username", "owner__email")
    date_hierarchy = "created_at"
    list_select_related = ("owner",)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What goes with a file may go with it, though it cannot be deleted by itself."""
        to_delete, counts, _perms_needed, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: Media) -> None:
        services.delete_media(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Media]) -> None:
        for media in queryset:
            services.delete_media(media)


@admin.register(Submission)
class SubmissionAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "media", "submitted_by", "source", "created_at")
    list_filter = ("source", "created_at")
    search_fields = ("public_id", "media__public_id", "media__original_name", "submitted_by__username")
    list_select_related = ("media", "submitted_by")

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Analysis)
class AnalysisAdmin(ReadOnlyAdmin):
    list_display = (
        "public_id",
        "media",
        "status",
        "stage",
        "progress",
        "outcome",
        "error_code",
        "attempts",
        "worker",
        "detector",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", "outcome", "error_code", "detector", "created_at")
    search_fields = ("public_id", "media__public_id", "media__original_name", "media__sha256", "media__owner__username")
    list_select_related = ("media",)
    date_hierarchy = "created_at"
    actions = ("retry",)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.action(description=_("Try the failed ones again"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Analysis]) -> None:
        queued = 0
        for analysis in queryset.select_related("media__owner"):
            try:
                queued += services.retry_analysis(analysis) if analysis.status == Analysis.Status.FAILED else 0
            except SentinelError as error:
                self.message_user(request, f"{analysis}: {error.text}", messages.ERROR)
        text = ngettext("%(count)d analysis was queued again.", "%(count)d analyses were queued again.", queued)
        self.message_user(request, text % {"count": queued}, messages.SUCCESS if queued else messages.WARNING)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("media_analysis.change_analysis"))


@admin.register(DeletionReceipt)
class DeletionReceiptAdmin(ReadOnlyAdmin):
    list_display = ("media_public_id", "owner", "sha256", "size", "deleted_at")
    search_fields = ("media_public_id", "sha256", "md5", "owner__username")
    list_select_related = ("owner",)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False
