from django.urls import path, re_path

from media_analysis import custody_views, notification_views, views
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
    path("notifications/", notification_views.listing, name="notifications"),
    path("notifications/read/", notification_views.mark_all_read, name="notifications_read"),
    path("notifications/preferences/", notification_views.preferences, name="notification_preferences"),
    path("notifications/<public_id:public_id>/read/", notification_views.mark_read, name="notification_read"),
    path("push-devices/<public_id:public_id>/remove/", notification_views.remove_device, name="push_device_remove"),
    path("share/", notification_views.share, name="share"),
    path("media/<public_id:public_id>/file", views.media_file, name="media_file"),
    path("media/<public_id:public_id>/delete/", views.delete, name="delete"),
    path("media/<public_id:public_id>/custody/", custody_views.log, name="custody"),
    path("models/", views.models, name="models"),
    path("models/<str:name>/", views.model, name="model"),
    path("models/<str:name>/card/", views.model_card, name="model_card"),
    re_path(
        rf"^models/(?P<name>[^/]+)/pictures/(?P<picture>{PICTURE_PATTERN})$", views.model_picture, name="model_picture"
    ),
]
