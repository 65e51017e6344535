from django.urls import path, re_path

from media_analysis import case_views, custody_views, notification_views, views
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
    path("cases/", case_views.listing, name="cases"),
    path("cases/new/", case_views.new, name="case_new"),
    path("cases/invitations/<public_id:invitation_id>/accept/", case_views.accept, name="case_accept"),
    path("cases/invitations/<public_id:invitation_id>/decline/", case_views.decline, name="case_decline"),
    path("cases/<public_id:public_id>/", case_views.show, name="case"),
    path("cases/<public_id:public_id>/edit/", case_views.edit, name="case_edit"),
    path("cases/<public_id:public_id>/delete/", case_views.delete, name="case_delete"),
    path("cases/<public_id:public_id>/close/", case_views.close, name="case_close"),
    path("cases/<public_id:public_id>/reopen/", case_views.reopen, name="case_reopen"),
    path("cases/<public_id:public_id>/files/", case_views.add_files, name="case_files"),
    path(
        "cases/<public_id:public_id>/files/<public_id:media_id>/remove/",
        case_views.remove_file,
        name="case_file_remove",
    ),
    path("cases/<public_id:public_id>/notes/", case_views.add_note, name="case_notes"),
    path("cases/<public_id:public_id>/invitations/", case_views.invite, name="case_invite"),
    path(
        "cases/<public_id:public_id>/invitations/<public_id:invitation_id>/withdraw/",
        case_views.withdraw_invitation,
        name="case_withdraw",
    ),
    path("cases/<public_id:public_id>/members/<public_id:user_id>/role/", case_views.change_role, name="case_role"),
    path(
        "cases/<public_id:public_id>/members/<public_id:user_id>/remove/",
        case_views.remove_member,
        name="case_member_remove",
    ),
    path("models/", views.models, name="models"),
    path("models/<str:name>/", views.model, name="model"),
    path("models/<str:name>/card/", views.model_card, name="model_card"),
    re_path(
        rf"^models/(?P<name>[^/]+)/pictures/(?P<picture>{PICTURE_PATTERN})$", views.model_picture, name="model_picture"
    ),
]
