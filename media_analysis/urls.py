from django.urls import path, re_path

from media_analysis import views
from media_analysis.evidence import NAME_PATTERN
from media_analysis.model_cards import PICTURE_PATTERN

app_name = "media_analysis"

urlpatterns = [
    path("analyses/", views.history, name="history"),
    path("analyses/new/", views.classify, name="classify"),
    path("analyses/<public_id:public_id>/retry/", views.retry, name="retry"),
    path("analyses/<public_id:public_id>/feedback/", views.feedback, name="feedback"),
    path("analyses/<public_id:public_id>/feedback/withdraw/", views.withdraw_consent, name="withdraw_consent"),
    re_path(
        rf"^analyses/(?P<public_id>[0-9a-f]{{24}})/evidence/(?P<name>{NAME_PATTERN})$",
        views.evidence_picture,
        name="evidence",
    ),
    path(
        "analyses/<public_id:public_id>/live/<public_id:stream>/<int:frame>.jpg",
        views.live_picture,
        name="live_picture",
    ),
    path("media/<public_id:public_id>/delete/", views.delete, name="delete"),
    path("models/", views.models, name="models"),
    path("models/<str:name>/", views.model, name="model"),
    path("models/<str:name>/card/", views.model_card, name="model_card"),
    re_path(
        rf"^models/(?P<name>[^/]+)/pictures/(?P<picture>{PICTURE_PATTERN})$", views.model_picture, name="model_picture"
    ),
]
