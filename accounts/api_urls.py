"""What /api/v1/ has about accounts."""

from __future__ import annotations

from django.urls import path

from accounts import api

urlpatterns = [
    path("tokens/", api.TokensView.as_view(), name="tokens-api"),
    path("tokens/refresh/", api.RefreshView.as_view(), name="token-refresh-api"),
    path("tokens/revoke/", api.RevokeView.as_view(), name="token-revoke-api"),
    path("sessions/", api.SessionsView.as_view(), name="sessions-api"),
    path("sessions/<public_id:public_id>/", api.SessionView.as_view(), name="session-api"),
    path("account/", api.AccountView.as_view(), name="account-api"),
    path("account/password/", api.PasswordView.as_view(), name="account-password-api"),
    path("account/delete/", api.DeleteAccountView.as_view(), name="account-delete-api"),
    path("push-devices/", api.PushDevicesView.as_view(), name="push-devices-api"),
    path("push-devices/<public_id:public_id>/", api.PushDeviceView.as_view(), name="push-device-api"),
]
