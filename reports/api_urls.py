"""What /api/v1/ has about reports."""

from __future__ import annotations

from django.urls import path

from reports.api import AnalysisReportView

urlpatterns = [
    path("analyses/<public_id:public_id>/report/", AnalysisReportView.as_view(), name="report-api"),
]
