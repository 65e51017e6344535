"""What every answer tells browsers, whoever made it: pages, programs' answers, files, errors, redirects."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# For what is no page of ours: nothing that it may hold is run, fetched or framed. Pages have that of the settings.
NO_PAGE_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# Nothing here asks for a camera or a place: files are chosen, never taken by a script. Only features that browsers
# know: each other one is a complaint in the console of every page.
PERMISSIONS = ", ".join(
    [
        *(
            f"{feature}=()"
            for feature in (
                *("accelerometer", "browsing-topics", "camera", "display-capture"),
                *("encrypted-media", "geolocation", "gyroscope", "hid", "idle-detection", "local-fonts"),
                *("magnetometer", "microphone", "midi", "payment", "serial", "usb", "xr-spatial-tracking"),
            )
        ),
        *(
            f"{feature}=(self)"
            for feature in (
                *("autoplay", "clipboard-write", "fullscreen", "picture-in-picture"),
                *("publickey-credentials-create", "publickey-credentials-get"),
            )
        ),
    ]
)
# May be kept by the reader's own browser, which asks each time whether it still holds.
ASK_AGAIN = "private, no-cache"
NO_STORE = "private, no-store"


class SecurityHeaders:
    """Says what a view did not say itself. The outermost of all, so that nothing leaves without it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        headers = response.headers
        headers.setdefault("Content-Security-Policy", NO_PAGE_POLICY)
        headers.setdefault("Permissions-Policy", PERMISSIONS)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        # An error or a form says something of one reader at one moment.
        keeps = response.status_code < 400 and not response.cookies
        headers.setdefault("Cache-Control", ASK_AGAIN if keeps else NO_STORE)
        return response
