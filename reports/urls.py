from django.urls import path

from reports import views

app_name = "reports"

urlpatterns = [
    path("analyses/<public_id:public_id>/", views.result, name="result"),
    path("analyses/<public_id:public_id>/report.pdf", views.report_pdf, name="report_pdf"),
]
