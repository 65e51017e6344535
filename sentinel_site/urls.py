from django.contrib import admin
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path
from django.utils.translation import gettext_lazy as _
from drf_spectacular.views import SpectacularAPIView
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts.security_views import admin_log_in
from media_analysis.views import home
from sentinel_site import pwa
from sentinel_site.api_docs import RedocView, SwaggerView, developers
from sentinel_site.metrics import metrics

admin.site.site_header = _("Sentinel administration")
admin.site.site_title = _("Sentinel")
# They would show administrators the tokens themselves. App sessions are what there is to look at and to end.
admin.site.unregister([OutstandingToken, BlacklistedToken])

handler400 = "media_analysis.views.bad_request"
handler403 = "media_analysis.views.forbidden"
handler404 = "media_analysis.views.not_found"
handler500 = "media_analysis.views.server_error"

urlpatterns = [
    path("", home, name="home"),
    # Asked for by browsers on pages without a link to it, such as the admin's.
    path("favicon.ico", lambda request: redirect(static("img/logo.svg"))),
    path("", include("media_analysis.urls")),
    path("", include("reports.urls")),
    path("accounts/", include("accounts.urls")),
    path("accounts/x/", include("twitterbot.urls")),
    path("api/v1/", include("accounts.api_urls")),
    path("api/v1/", include("media_analysis.api_urls")),
    path("api/v1/", include("reports.api_urls")),
    # The eleven endpoints that phone apps in the field speak to.
    path("", include("accounts.mobile_urls")),
    path("", include("media_analysis.mobile_urls")),
    path("", include("reports.mobile_urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SwaggerView.as_view(), name="swagger"),
    path("api/docs/redoc/", RedocView.as_view(), name="redoc"),
    path("developers/", developers, name="developers"),
    path("manifest.webmanifest", pwa.manifest, name="manifest"),
    path("service-worker.js", pwa.service_worker, name="service-worker"),
    path("offline/", pwa.offline, name="offline"),
    # Django’s own would not ask for the second factor.
    path("admin/login/", admin_log_in),
    path("metrics", metrics, name="metrics"),
    path("admin/", admin.site.urls),
]
