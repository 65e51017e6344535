"""What /api/v1/ has about reports."""

from __future__ import annotations

from django.urls import path

from reports.api import AnalysisReportView
from reports.card_api import CardView
from reports.case_document_api import CaseDocumentFileView, CaseDocumentListView, CaseDocumentView
from reports.check_api import CheckView
from reports.package_views import PackageView

urlpatterns = [
    path("check/", CheckView.as_view(), name="check-api"),
    path("analyses/<public_id:public_id>/report/", AnalysisReportView.as_view(), name="report-api"),
    path("cases/<public_id:public_id>/documents/", CaseDocumentListView.as_view(), name="case-documents-api"),
    path(
        "cases/<public_id:public_id>/documents/<public_id:document_id>/",
        CaseDocumentView.as_view(),
        name="case-document-api",
    ),
    path(
        "cases/<public_id:public_id>/documents/<public_id:document_id>/file/",
        CaseDocumentFileView.as_view(),
        name="case-document-file-api",
    ),
    path("analyses/<public_id:public_id>/package/", PackageView.as_view(), name="package-api"),
    path("analyses/<public_id:public_id>/card/", CardView.as_view(), name="card-api"),
]
