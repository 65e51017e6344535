from django.urls import path

from reports import check_views, paperwork_views, views

app_name = "reports"

urlpatterns = [
    path("check/", check_views.check, name="check"),
    path("check/certificates.pem", check_views.certificates, name="certificates"),
    path("analyses/<public_id:public_id>/", views.result, name="result"),
    path("analyses/<public_id:public_id>/report.pdf", views.report_pdf, name="report_pdf"),
    path("analyses/<public_id:public_id>/papers/", paperwork_views.papers, name="papers"),
    path("analyses/<public_id:public_id>/papers/packet.pdf", paperwork_views.packet_pdf, name="packet_pdf"),
]
