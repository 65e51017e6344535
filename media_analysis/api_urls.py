"""What /api/v1/ has about media and detectors."""

from __future__ import annotations

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from media_analysis.api import AnalysisViewSet, FeedbackView, ModelListView, ModelView

router = SimpleRouter()
router.register("analyses", AnalysisViewSet, basename="analysis")

urlpatterns = [
    path("", include((router.urls, "api"))),
    path("analyses/<public_id:public_id>/feedback/", FeedbackView.as_view(), name="feedback-api"),
    path("models/", ModelListView.as_view(), name="models-api"),
    path("models/<str:name>/", ModelView.as_view(), name="model-api"),
]
