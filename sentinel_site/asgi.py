"""The entry point of the web server."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sentinel_site.settings")
django_application = get_asgi_application()

from django.conf import settings  # noqa: E402 -- settings exist only from here on

from media_analysis import housekeeping  # noqa: E402
from media_analysis.health import database_is_there  # noqa: E402
from media_analysis.room import lacks_room  # noqa: E402
from sentinel_site.bodies import LimitBody  # noqa: E402
from sentinel_site.guards import ReadableTypes  # noqa: E402
from sentinel_site.request_ids import GiveRequestId  # noqa: E402
from sentinel_site.sockets import application as sockets  # noqa: E402

application = GiveRequestId(
    ReadableTypes(
        LimitBody(
            ProtocolTypeRouter({"http": django_application, "websocket": sockets}),
            max_upload_bytes=settings.SENTINEL_MAX_UPLOAD_BYTES,
            is_ready=database_is_there,
            lacks_room=lacks_room,
            on_file=housekeeping.keep_swept,
        )
    ),
    trust_proxy=settings.SENTINEL_BEHIND_PROXY,
)
