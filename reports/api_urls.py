"""What /api/v1/ has about reports."""

from __future__ import annotations

from django.urls import path

from reports.api import AnalysisReportView
from reports.check_api import CheckView

urlpatterns = [
    path("check/", CheckView.as_view(), name="check-api"),
    path("analyses/<public_id:public_id>/report/", AnalysisReportView.as_view(), name="report-api"),
]
