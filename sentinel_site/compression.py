"""Pages and JSON in a fifth of their bytes: most of our readers have slow networks.

Compressing what is secret together with what a stranger can put into it lets who sees the lengths guess the secret, a
letter at a time (BREACH). docs/decisions.md says why it can be done here; the rules are these: only answers to GET, so
that no token that is handed out and no form that comes back with its errors is ever compressed; and a random number
of bytes in front, which Django adds.
"""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

# Without parameters. Pictures, videos and PDF files are compressed already, and are asked for by ranges.
COMPRESSED_TYPES = {
    "application/json",
    "application/manifest+json",
    "application/vnd.oai.openapi",
    "application/vnd.oai.openapi+json",
    "text/html",
    "text/javascript",
}


class CompressPages(GZipMiddleware):
    """Answers to GET of one of the types above, unless they are sent in pieces."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        kind = response.get("Content-Type", "").partition(";")[0].strip().lower()
        if request.method != "GET" or response.streaming or kind not in COMPRESSED_TYPES:
            return response
        return super().process_response(request, response)
