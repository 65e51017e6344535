"""What /api/v1/ has about media and detectors."""

from __future__ import annotations

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from media_analysis.api import (
    AnalysisViewSet,
    FeedbackView,
    MediaView,
    ModelListView,
    ModelView,
    PictureView,
    ReceiptListView,
)
from media_analysis.api_health import HealthView, LiveView
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
    path("receipts/", ReceiptListView.as_view(), name="receipts-api"),
    path("health/", HealthView.as_view(), name="health-api"),
    path("live/", LiveView.as_view(), name="live-api"),
    path("notifications/", NotificationListView.as_view(), name="notifications-api"),
    path("notifications/state/", NotificationStateView.as_view(), name="notification-state-api"),
    path("notifications/read/", NotificationsReadView.as_view(), name="notifications-read-api"),
    path("notifications/<public_id:public_id>/read/", NotificationReadView.as_view(), name="notification-read-api"),
    path("models/", ModelListView.as_view(), name="models-api"),
    path("models/<str:name>/", ModelView.as_view(), name="model-api"),
]
