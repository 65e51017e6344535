from django.contrib.auth import views as auth
from django.urls import path

from accounts import security_views as security
from accounts import views

app_name = "accounts"

urlpatterns = [
    path("", views.account, name="account"),
    path("delete/", views.delete, name="delete"),
    path("language/", views.language, name="language"),
    path("devices/end/", views.end_all_devices, name="end_all_devices"),
    path("devices/<public_id:public_id>/end/", views.end_device, name="end_device"),
    path("signup/", views.SignUpView.as_view(), name="signup"),
    path("login/", security.LogInView.as_view(), name="login"),
    path("login/code/", security.second_step, name="second_step"),
    path("login/passkey/options/", security.passkey_log_in_options, name="passkey_log_in_options"),
    path("login/passkey/", security.passkey_log_in, name="passkey_log_in"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("confirm/", security.confirm, name="confirm"),
    path("security/", security.security, name="security"),
    path("security/code-app/", security.set_up_totp, name="set_up_totp"),
    path("security/code-app/remove/", security.remove_totp, name="remove_totp"),
    path("security/recovery-codes/", security.make_recovery_codes, name="recovery_codes"),
    path("security/passkeys/options/", security.passkey_options, name="passkey_options"),
    path("security/passkeys/", security.add_passkey, name="add_passkey"),
    path("security/passkeys/<public_id:public_id>/rename/", security.rename_passkey, name="rename_passkey"),
    path("security/passkeys/<public_id:public_id>/remove/", security.remove_passkey, name="remove_passkey"),
    path("security/sessions/end/", security.end_other_sessions, name="end_other_sessions"),
    path("security/sessions/<public_id:public_id>/end/", security.end_session, name="end_session"),
    path("password/", security.ChangePasswordView.as_view(), name="password_change"),
    path("password/check/", views.check_password, name="check_password"),
    path(
        "password/done/",
        auth.PasswordChangeDoneView.as_view(template_name="accounts/password_change_done.html"),
        name="password_change_done",
    ),
    path("password-reset/", security.ResetPasswordView.as_view(), name="password_reset"),
    path(
        "password-reset/sent/",
        auth.PasswordResetDoneView.as_view(template_name="accounts/password_reset_done.html"),
        name="password_reset_done",
    ),
    path("password-reset/<uidb64>/<token>/", security.SetNewPasswordView.as_view(), name="password_reset_confirm"),
    path(
        "password-reset/complete/",
        auth.PasswordResetCompleteView.as_view(template_name="accounts/password_reset_complete.html"),
        name="password_reset_complete",
    ),
]
