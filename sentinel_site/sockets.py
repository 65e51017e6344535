"""Where WebSockets go."""

from __future__ import annotations

from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from channels.sessions import SessionMiddlewareStack
from django.urls import re_path

from accounts.ids import PUBLIC_ID_PATTERN
from media_analysis.consumers import LiveConsumer

router = URLRouter(
    [
        re_path(rf"^ws/analyses/(?P<public_id>{PUBLIC_ID_PATTERN})/$", LiveConsumer.as_asgi()),
        re_path("", WebsocketDenier.as_asgi()),
    ]
)
# Only pages of this site may open one: a browser sends its cookies along with whosever page asks. Who is logged in, the
# consumer asks itself, and again as long as the socket is open.
application = AllowedHostsOriginValidator(SessionMiddlewareStack(router))
