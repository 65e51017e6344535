"""What /api/v1/ has about media and detectors."""

from __future__ import annotations

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from media_analysis import case_api
from media_analysis.api import (
    AnalysisViewSet,
    FeedbackView,
    MediaView,
    ModelListView,
    ModelView,
    PictureView,
    ReceiptListView,
)
from media_analysis.api_health import HealthView, LiveView, ReadyView
from media_analysis.api_uploads import UploadListView, UploadView
from media_analysis.notification_api import (
    NotificationListView,
    NotificationReadView,
    NotificationsReadView,
    NotificationStateView,
)

router = SimpleRouter()
router.register("analyses", AnalysisViewSet, basename="analysis")

urlpatterns = [
    path("", include((router.urls, "api"))),
    path("analyses/<public_id:public_id>/feedback/", FeedbackView.as_view(), name="feedback-api"),
    path("analyses/<public_id:public_id>/media/", MediaView.as_view(), name="media-api"),
    path("analyses/<public_id:public_id>/pictures/<str:name>", PictureView.as_view(), name="picture-api"),
    path("uploads/", UploadListView.as_view(), name="uploads-api"),
    path("uploads/<public_id:public_id>/", UploadView.as_view(), name="upload-api"),
    path("cases/", case_api.CaseListView.as_view(), name="cases-api"),
    path("cases/<public_id:public_id>/", case_api.CaseView.as_view(), name="case-api"),
    path("cases/<public_id:public_id>/media/", case_api.CaseMediaListView.as_view(), name="case-media-list-api"),
    path(
        "cases/<public_id:public_id>/media/<public_id:media_id>/",
        case_api.CaseMediaView.as_view(),
        name="case-media-api",
    ),
    path("cases/<public_id:public_id>/notes/", case_api.CaseNoteListView.as_view(), name="case-notes-api"),
    path("cases/<public_id:public_id>/members/", case_api.CaseMemberListView.as_view(), name="case-members-api"),
    path(
        "cases/<public_id:public_id>/members/<public_id:user_id>/",
        case_api.CaseMemberView.as_view(),
        name="case-member-api",
    ),
    path("case-invitations/", case_api.InvitationListView.as_view(), name="case-invitations-api"),
    path("case-invitations/<public_id:public_id>/", case_api.InvitationView.as_view(), name="case-invitation-api"),
    path(
        "case-invitations/<public_id:public_id>/accept/",
        case_api.InvitationAcceptView.as_view(),
        name="case-invitation-accept-api",
    ),
    path("receipts/", ReceiptListView.as_view(), name="receipts-api"),
    path("health/", HealthView.as_view(), name="health-api"),
    path("live/", LiveView.as_view(), name="live-api"),
    path("ready/", ReadyView.as_view(), name="ready-api"),
    path("notifications/", NotificationListView.as_view(), name="notifications-api"),
    path("notifications/state/", NotificationStateView.as_view(), name="notification-state-api"),
    path("notifications/read/", NotificationsReadView.as_view(), name="notifications-read-api"),
    path("notifications/<public_id:public_id>/read/", NotificationReadView.as_view(), name="notification-read-api"),
    path("models/", ModelListView.as_view(), name="models-api"),
    path("models/<str:name>/", ModelView.as_view(), name="model-api"),
]
