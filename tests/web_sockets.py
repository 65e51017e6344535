"""Opens a WebSocket of the site in a test's own process: channels' own helper needs a server that is not installed."""

from __future__ import annotations

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator
from django.test import Client

from sentinel_site.sockets import application

# Whom the site lets in is read once, at the start: not the name by which Django's test client calls it.
HOST = "localhost"


async def open_socket(path: str, client: Client | None = None, *, origin: str | None = f"http://{HOST}") -> Any:
    """What the first messages say: False if the handshake was refused, a close code, or the first JSON that came.

    The socket is closed after that.
    """
    headers = [(b"host", HOST.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    if client is not None and client.cookies:
        pairs = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        headers.append((b"cookie", pairs.encode()))
    path, _, query = path.partition("?")
    scope = {
        **{"type": "websocket", "path": path, "query_string": query.encode(), "headers": headers},
        **{"subprotocols": [], "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"}},
    }
    # asgiref's helpers for tests carry no types.
    socket: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]
    await socket.send_input({"type": "websocket.connect"})
    try:
        answer = await socket.receive_output(10)
        if answer["type"] == "websocket.close":
            return False
        answer = await socket.receive_output(10)
        return answer["code"] if answer["type"] == "websocket.close" else json.loads(answer["text"])
    finally:
        await socket.send_input({"type": "websocket.disconnect", "code": 1000})
        await socket.wait(5)
