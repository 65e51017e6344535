from django.urls import path

from reports import card_views, check_views, package_views, paperwork_views, views
from reports.case_document_views import document_file, documents

app_name = "reports"

urlpatterns = [
    path("check/", check_views.check, name="check"),
    path("check/certificates.pem", check_views.certificates, name="certificates"),
    path("analyses/<public_id:public_id>/", views.result, name="result"),
    path("analyses/<public_id:public_id>/report.pdf", views.report_pdf, name="report_pdf"),
    path("cases/<public_id:public_id>/documents/", documents, name="case_documents"),
    path(
        "cases/<public_id:public_id>/documents/<public_id:document_id>/file", document_file, name="case_document_file"
    ),
    path("analyses/<public_id:public_id>/package.zip", package_views.package, name="package"),
    path("analyses/<public_id:public_id>/card/", card_views.publish, name="card_publish"),
    path("analyses/<public_id:public_id>/card/withdraw/", card_views.withdraw, name="card_withdraw"),
    path("r/<public_id:public_id>/", card_views.card, name="card"),
    path("r/<public_id:public_id>.png", card_views.card_picture, name="card_picture"),
    path("analyses/<public_id:public_id>/papers/", paperwork_views.papers, name="papers"),
    path("analyses/<public_id:public_id>/papers/packet.pdf", paperwork_views.packet_pdf, name="packet_pdf"),
]
