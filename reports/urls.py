from django.urls import path

from reports import card_views, check_views, package_views, paperwork_views, views
from reports.case_report_views import case_export, case_report

app_name = "reports"

urlpatterns = [
    path("check/", check_views.check, name="check"),
    path("check/certificates.pem", check_views.certificates, name="certificates"),
    path("analyses/<public_id:public_id>/", views.result, name="result"),
    path("analyses/<public_id:public_id>/report.pdf", views.report_pdf, name="report_pdf"),
    path("cases/<public_id:public_id>/report.pdf", case_report, name="case_report"),
    path("cases/<public_id:public_id>/export.zip", case_export, name="case_export"),
    path("analyses/<public_id:public_id>/package.zip", package_views.package, name="package"),
    path("analyses/<public_id:public_id>/card/", card_views.publish, name="card_publish"),
    path("analyses/<public_id:public_id>/card/withdraw/", card_views.withdraw, name="card_withdraw"),
    path("r/<public_id:public_id>/", card_views.card, name="card"),
    path("r/<public_id:public_id>.png", card_views.card_picture, name="card_picture"),
    path("analyses/<public_id:public_id>/papers/", paperwork_views.papers, name="papers"),
    path("analyses/<public_id:public_id>/papers/packet.pdf", paperwork_views.packet_pdf, name="packet_pdf"),
]
