"""What makes the site an app that can be installed: manifest, service worker, and a page for when there is no network.

All three are the same for everybody who speaks the same language: browsers fetch and keep them without asking who
is logged in.
"""

from __future__ import annotations

import hashlib
import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import get_language, gettext
from django.views.decorators.http import require_safe

from ml import __version__

# What the page without network is made of. Their names hold digests of their content.
SHELL = ("css/sentinel.css", "css/languages.css", "img/logo.svg", "img/icons.svg")
# Asked for again each time, answered 304 while unchanged: a new version of the site reaches installed apps at once.
FRESH = {"Cache-Control": "no-cache"}
# Those of the page's header in both colour schemes.
THEME_COLOR = "#0b5873"
BACKGROUND_COLOR = "#f5f7f9"


@require_safe
def manifest(request: HttpRequest) -> HttpResponse:
    icons = [
        {"src": static("img/icon-192.png"), "sizes": "192x192", "type": "image/png", "purpose": "any"},
        {"src": static("img/icon-512.png"), "sizes": "512x512", "type": "image/png", "purpose": "any"},
        {"src": static("img/maskable-192.png"), "sizes": "192x192", "type": "image/png", "purpose": "maskable"},
        {"src": static("img/maskable-512.png"), "sizes": "512x512", "type": "image/png", "purpose": "maskable"},
    ]
    shortcut_icons = icons[:1]
    content = {
        "id": "/",
        "name": gettext("Sentinel"),
        "short_name": gettext("Sentinel"),
        "description": gettext(
            "Sentinel examines videos and photos of people for signs of manipulation and shows what it found."
        ),
        "lang": get_language(),
        "dir": "ltr",
        "start_url": reverse("home"),
        "scope": "/",
        "display": "standalone",
        "theme_color": THEME_COLOR,
        "background_color": BACKGROUND_COLOR,
        "categories": ["utilities", "news"],
        "icons": icons,
        "shortcuts": [
            {"name": gettext("Examine a file"), "url": reverse("media_analysis:classify"), "icons": shortcut_icons},
            {"name": gettext("History"), "url": reverse("media_analysis:history"), "icons": shortcut_icons},
        ],
        "share_target": {
            "action": reverse("media_analysis:share"),
            "method": "POST",
            "enctype": "multipart/form-data",
            "params": {
                "title": "title",
                "text": "text",
                "url": "url",
                "files": [{"name": "file", "accept": ["video/*", "image/*"]}],
            },
        },
    }
    return JsonResponse(content, content_type="application/manifest+json", headers=FRESH)


@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """The service worker at the root, whose scope is the whole site; its code is a static file.

    It changes, and with it what it keeps, with each file that it keeps, the language, and the version of the site.
    """
    shell = [static(name) for name in SHELL]
    code = static("js/service-worker.js")
    parts = json.dumps([__version__, get_language(), code, shell])
    config = {
        "version": hashlib.sha256(parts.encode()).hexdigest()[:16],
        "offline": reverse("offline"),
        "shell": shell,
        "logout": reverse("accounts:logout"),
        "devices": reverse("push-devices-api"),
        "key": settings.VAPID_PUBLIC_KEY,
        "icon": static("img/icon-192.png"),
        "badge": static("img/badge-96.png"),
    }
    script = f"const SENTINEL = {json.dumps(config)};\nimportScripts({json.dumps(code)});\n"
    return HttpResponse(script, content_type="text/javascript; charset=utf-8", headers=FRESH)


@require_safe
def offline(request: HttpRequest) -> HttpResponse:
    """Kept in every browser: it says nothing of who is logged in."""
    return render(request, "offline.html")
