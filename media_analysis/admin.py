from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import URLPattern, path, re_path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import clock
from accounts.errors import SentinelError
from accounts.models import User
from media_analysis import custody, evidence, health, retention, selectors, services, streaming
from media_analysis import feedback as feedback_service
from media_analysis.link_words import link_of
from media_analysis.models import (
    Analysis,
    Case,
    CaseDetails,
    CaseInvitation,
    CaseMedia,
    CaseMember,
    CaseNote,
    CustodyEvent,
    DeletionReceipt,
    Delivery,
    Feedback,
    LinkSource,
    Media,
    ResumableUpload,
    Submission,
    WorkerState,
)
from media_analysis.wording import verdict_text


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What happened is looked at here, not changed.

    Tables grow for years: what reads all of one for each page, as a hierarchy of dates does, is left out.
    """

    # Keys grow with time, and need no other index.
    ordering = ("-pk",)
    # Else everything is counted once more wherever a filter is set.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class ReadOnlyInline:
    """Looked at, not changed."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class CaseDetailsInline(ReadOnlyInline, admin.StackedInline):  # type: ignore[type-arg]
    model = CaseDetails


class SubmissionInline(ReadOnlyInline, admin.TabularInline):  # type: ignore[type-arg]
    """Leads to the police case, which belongs to a submission."""

    model = Submission
    fields = ("public_id", "submitted_by", "source", "created_at")
    readonly_fields = ("public_id",)
    show_change_link = True


class LinkSourceInline(ReadOnlyInline, admin.StackedInline):  # type: ignore[type-arg]
    """Where a file was fetched from, with the site's word on it as text: nothing there can be clicked on."""

    model = LinkSource


@admin.register(Media)
class MediaAdmin(ReadOnlyAdmin):
    list_display = (
        *("public_id", "original_name", "owner", "kind", "duration", "size", "created_at", "deletes_at", "deleted_at"),
    )
    list_filter = ("kind", "codec", "created_at")
    search_fields = ("public_id", "original_name", "sha256", "md5", "owner__username", "owner__email")
    list_select_related = ("owner",)
    inlines = (SubmissionInline,)

    def get_inlines(self, request: HttpRequest, obj: Media | None) -> list[Any]:
        """The link of a file that came by one."""
        return [*super().get_inlines(request, obj), *([LinkSourceInline] if obj and link_of(obj) else [])]

    def get_list_display(self, request: HttpRequest) -> Any:
        """When it will be deleted, where files are."""
        return [column for column in super().get_list_display(request) if column != "deletes_at" or retention.is_on()]

    @admin.display(description=_("will be deleted"))
    def deletes_at(self, media: Media) -> datetime | None:
        return retention.deletes_at(media)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What goes with a file may go with it, though it cannot be deleted by itself."""
        to_delete, counts, _perms_needed, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: Media) -> None:
        services.delete_media(obj, actor=cast(User, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Media]) -> None:
        for media in queryset:
            services.delete_media(media, actor=cast(User, request.user))


@admin.register(Submission)
class SubmissionAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "media", "submitted_by", "source", "created_at")
    list_filter = ("source", "created_at")
    search_fields = (
        "public_id",
        "media__public_id",
        "media__original_name",
        "submitted_by__username",
        "case_details__case_id",
        "case_details__fir_id",
    )
    list_select_related = ("media", "submitted_by")
    inlines = (CaseDetailsInline,)

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
        "priority",
        "lane",
        "attempts",
        "worker",
        "detector",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", "outcome", "error_code", "priority", "lane", "detector", "created_at")
    search_fields = ("public_id", "media__public_id", "media__original_name", "media__sha256", "media__owner__username")
    list_select_related = ("media",)
    actions = ("retry", "examine_again")

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

    @admin.action(description=_("Examine the files again"), permissions=["retry"])
    def examine_again(self, request: HttpRequest, queryset: QuerySet[Analysis]) -> None:
        files = Media.objects.filter(pk__in=queryset.values_list("media_id", flat=True)).select_related("owner")
        queued = sum(services.examine_again(media, requester=media.owner) is not None for media in files)
        text = ngettext("%(count)d file will be examined again.", "%(count)d files will be examined again.", queued)
        self.message_user(request, text % {"count": queued}, messages.SUCCESS if queued else messages.WARNING)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        analysis = self.get_object(request, object_id)
        if analysis is not None and self.has_view_permission(request, analysis):
            custody.look_at(analysis, actor=cast(User, request.user), what=custody.What.ADMIN)
        return super().change_view(request, object_id, form_url, extra_context)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("media_analysis.change_analysis"))


@admin.register(DeletionReceipt)
class DeletionReceiptAdmin(ReadOnlyAdmin):
    list_display = ("media_public_id", "owner", "sha256", "size", "deleted_at")
    search_fields = ("media_public_id", "sha256", "md5", "owner__username")
    list_select_related = ("owner",)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(CustodyEvent)
class CustodyEventAdmin(ReadOnlyAdmin):
    """What happened to each file. `manage.py check_custody_log` checks the chains."""

    list_display = ("media_id", "number", "event", "at", "actor", "address", "digest")
    list_filter = ("event", "at")
    search_fields = ("=media_id", "=actor", "=address", "=digest")

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class CaseMemberInline(ReadOnlyInline, admin.TabularInline):  # type: ignore[type-arg]
    model = CaseMember
    fields = ("user", "role", "joined_at")


class CaseInvitationInline(ReadOnlyInline, admin.TabularInline):  # type: ignore[type-arg]
    model = CaseInvitation
    fields = ("invited_as", "role", "created_at")


class CaseMediaInline(ReadOnlyInline, admin.TabularInline):  # type: ignore[type-arg]
    model = CaseMedia
    fields = ("media_public_id", "sha256", "added_by", "added_at")


class CaseNoteInline(ReadOnlyInline, admin.TabularInline):  # type: ignore[type-arg]
    model = CaseNote
    fields = ("author", "created_at", "text")


@admin.register(Case)
class CaseAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "title", "owner", "status", "case_id", "fir_id", "created_at", "updated_at")
    list_filter = ("status", "created_at")
    search_fields = ("public_id", "title", "case_id", "fir_id", "owner__username", "members__user__username")
    list_select_related = ("owner",)
    inlines = (CaseMemberInline, CaseInvitationInline, CaseMediaInline, CaseNoteInline)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(ResumableUpload)
class ResumableUploadAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "owner", "name", "size", "created_at", "expires_at")
    search_fields = ("public_id", "name", "owner__username")
    list_select_related = ("owner",)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(WorkerState)
class WorkerStateAdmin(ReadOnlyAdmin):
    """The workers, and above them how much there is to do."""

    ordering = ("name",)
    list_display = ("name", "is_alive", "draining", "lanes", "detector", "detector_version", "started_at", "seen_at")

    @admin.display(description=_("alive"), boolean=True)
    def is_alive(self, worker: WorkerState) -> bool:
        return clock.now() - worker.seen_at < health.ALIVE_FOR

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        queue = health.queue_state()
        summary = gettext("%(waiting)s waiting, %(running)s running")
        title = summary % {"waiting": queue.waiting, "running": queue.running}
        return super().changelist_view(request, {**(extra_context or {}), "title": title})

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class QueueFilter(admin.SimpleListFilter):
    """What there is to do, unless something else is asked for."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("waiting", _("disagreements to review")),
            ("unseen", _("disagreements without consent")),
            ("agreements", _("agreements")),
            ("all", _("everything")),
        ]

    def value(self) -> str:
        return super().value() or "waiting"

    def choices(self, changelist: ChangeList) -> Any:
        for value, title in self.lookup_choices:
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> QuerySet[Feedback]:
        disagreements = queryset.filter(opinion=Feedback.Opinion.DISAGREE)
        match self.value():
            case "waiting":
                return disagreements.filter(review=Feedback.Review.WAITING, consent_at__isnull=False)
            case "unseen":
                return disagreements.filter(consent_at__isnull=True)
            case "agreements":
                return queryset.filter(opinion=Feedback.Opinion.AGREE)
        return queryset


class ReviewForm(ActionForm):
    """Beside the list of actions: what "confirm as fake" needs to know."""

    method = forms.ChoiceField(
        label=_("Method of the fake:"),
        choices=[("", "---------"), *Feedback.Method.choices],
        required=False,
    )


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    """The review queue: what users disagree with, and what the file really is.

    A reviewer sees pictures and file only where their owner consented, and can neither give nor change a consent.
    """

    list_display = (
        "public_id",
        "evidence_link",
        "verdict",
        "score",
        "opinion",
        "review",
        "fake_method",
        "updated_at",
    )
    list_filter = (QueueFilter, "review", "fake_method", "analysis__outcome", "analysis__detector")
    search_fields = ("public_id", "analysis__public_id", "analysis__media__sha256")
    list_select_related = ("analysis__media", "reviewed_by")
    fields = (
        "public_id",
        "verdict",
        "score",
        "detector",
        "opinion",
        "comment",
        "consent_at",
        "exported_at",
        "review",
        "fake_method",
        "reviewed_by",
        "reviewed_at",
        "sha256",
        "pictures",
    )
    readonly_fields = ("verdict", "score", "detector", "sha256", "pictures")
    change_form_template = "admin/media_analysis/feedback/change_form.html"
    actions = ("confirm_as_real", "confirm_as_fake", "reject")
    action_form = ReviewForm

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        return selectors.all_feedback()

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_review_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("media_analysis.review_feedback"))

    @admin.display(description=_("verdict"))
    def verdict(self, feedback: Feedback) -> str:
        return capfirst(verdict_text(feedback.analysis))

    @admin.display(description=_("fake probability"), ordering="analysis__fake_probability")
    def score(self, feedback: Feedback) -> str:
        """Of the person who decides, then over all faces; a dash where there is no score."""
        both = (feedback.analysis.fake_probability, feedback.analysis.pooled_probability)
        return " / ".join("–" if value is None else f"{value:.3f}" for value in both)

    @admin.display(description=_("detector"))
    def detector(self, feedback: Feedback) -> str:
        return f"{feedback.analysis.detector} {feedback.analysis.detector_version}"

    @admin.display(description=_("SHA-256"))
    def sha256(self, feedback: Feedback) -> str:
        return feedback.analysis.media.sha256

    @admin.display(description=_("evidence"))
    def evidence_link(self, feedback: Feedback) -> str:
        if feedback.consent_at is None:
            return gettext("no consent")
        url = reverse("admin:media_analysis_feedback_change", args=[feedback.pk])
        return format_html('<a href="{}">{}</a>', url, _("Look at it"))

    @admin.display(description=_("pictures and file"))
    def pictures(self, feedback: Feedback) -> str | SafeString:
        if feedback.consent_at is None:
            return gettext("Its owner has not consented: nobody but the owner may see it.")
        names = [stored.rpartition("/")[2] for stored in feedback.analysis.evidence]
        # Whole frames first, then what the network looked at, then the faces, then every frame once more, small.
        order = {"labelled": 0, "frame": 1, "heat": 2, "crop": 3, "sample": 4}
        names.sort(key=lambda name: order[name.removesuffix(".jpg").partition("-")[0]])
        urls = [(reverse("admin:media_analysis_feedback_evidence", args=[feedback.pk, name]), name) for name in names]
        link = format_html(
            '<p><a href="{}">{}</a></p>',
            reverse("admin:media_analysis_feedback_file", args=[feedback.pk]),
            _("Download the file"),
        )
        return link + format_html_join(
            " ", '<a href="{0}"><img src="{0}" alt="{1}" height="160" loading="lazy"></a>', urls
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        feedback = self.get_object(request, object_id)
        if feedback is not None and self.has_view_permission(request, feedback):
            custody.look_at(feedback.analysis, actor=cast(User, request.user), what=custody.What.ADMIN)
        extra = {
            "may_review": self.has_review_permission(request),
            "decisions_url": reverse("admin:media_analysis_feedback_changelist") + "?queue=all",
            "methods": Feedback.Method.choices,
        }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def get_urls(self) -> list[URLPattern]:
        guard = self.admin_site.admin_view
        return [
            path("<slug:pk>/file/", guard(self.serve_file), name="media_analysis_feedback_file"),
            re_path(
                rf"^(?P<pk>\w+)/evidence/(?P<name>{evidence.NAME_PATTERN})$",
                guard(self.serve_evidence),
                name="media_analysis_feedback_evidence",
            ),
            *super().get_urls(),
        ]

    def serve_evidence(self, request: HttpRequest, pk: str, name: str) -> HttpResponse:
        """A picture of the evidence, for reviewers."""
        analysis = self._consented(request, pk).analysis
        jpeg = evidence.read(evidence.find(analysis, name))
        custody.look_at(analysis, actor=cast(User, request.user), what=custody.What.PICTURE)
        return HttpResponse(jpeg, content_type="image/jpeg", headers={"Cache-Control": "private, no-store"})

    def serve_file(self, request: HttpRequest, pk: str) -> StreamingHttpResponse:
        """The file as received, for reviewers. Who takes it is written down."""
        feedback = self._consented(request, pk)
        media = feedback.analysis.media
        if not media.file:
            raise Http404
        try:
            pieces = streaming.read_in_pieces(media)
        except FileNotFoundError as error:
            raise Http404 from error
        self.log_change(request, feedback, gettext("Took the file to review it."))
        custody.record(
            media.public_id,
            custody.Event.DOWNLOADED,
            actor=cast(User, request.user),
            what=str(custody.What.ORIGINAL),
            sha256=media.sha256,
        )
        return StreamingHttpResponse(
            pieces,
            # Never shown in the page: these are a stranger's bytes.
            content_type="application/octet-stream",
            headers={
                "Content-Disposition": f'attachment; filename="{media.sha256}"',
                "Content-Length": str(media.size),
                "Cache-Control": "private, no-store",
            },
        )

    def _consented(self, request: HttpRequest, pk: str) -> Feedback:
        """The feedback, if its file may be looked at by this reviewer."""
        if not self.has_review_permission(request):
            raise PermissionDenied
        feedback: Feedback | None = self.get_object(request, pk)
        if feedback is None or feedback.consent_at is None:
            raise Http404
        return feedback

    @admin.action(description=_("Confirm as real"), permissions=["review"])
    def confirm_as_real(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> None:
        self._decide(request, queryset, Feedback.Review.REAL)

    @admin.action(description=_("Confirm as fake, made by the method beside"), permissions=["review"])
    def confirm_as_fake(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> None:
        method = request.POST.get("method", "")
        if method not in Feedback.Method.values:
            self.message_user(request, _("Choose the method of the fake first, or “unknown method”."), messages.ERROR)
            return
        self._decide(request, queryset, Feedback.Review.FAKE, Feedback.Method(method))

    @admin.action(description=_("Do not use"), permissions=["review"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> None:
        self._decide(request, queryset, Feedback.Review.REJECTED)

    def _decide(
        self,
        request: HttpRequest,
        queryset: QuerySet[Feedback],
        decision: Feedback.Review,
        method: Feedback.Method | None = None,
    ) -> None:
        reviewer: Any = request.user
        decided = 0
        for feedback in queryset:
            if feedback_service.review_feedback(feedback, reviewer=reviewer, decision=decision, method=method):
                decided += 1
                said = f"{decision.label}: {method.label}" if method else str(decision.label)
                self.log_change(request, feedback, said)
            else:
                refused = gettext("%(feedback)s: its owner has not consented, so it cannot be confirmed.")
                self.message_user(request, refused % {"feedback": feedback}, messages.WARNING)
        if decided:
            text = ngettext("%(count)d decision was recorded.", "%(count)d decisions were recorded.", decided)
            self.message_user(request, text % {"count": decided}, messages.SUCCESS)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """What became of push messages and e-mails, and why."""

    list_display = (
        "notification",
        "user",
        "channel",
        "device",
        "status",
        "error",
        "attempts",
        "next_try_at",
        "sent_at",
    )
    list_filter = ("status", "channel", "error")
    search_fields = ("notification__public_id", "notification__analysis__public_id", "notification__user__username")
    list_select_related = ("notification__user", "device")

    @admin.display(description=_("user"))
    def user(self, delivery: Delivery) -> str:
        return delivery.notification.user.get_username()
