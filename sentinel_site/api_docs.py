"""The API's documentation for people: Swagger UI, Redoc and the page for app developers, from our own files only."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

from csp.constants import SELF
from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView
from markdown_it import MarkdownIt

GUIDE = settings.BASE_DIR / "docs" / "app-developers.md"


# Its script holds the reader's CSRF token, so that requests can be tried with the web session.
@method_decorator(never_cache, name="dispatch")
class SwaggerView(SpectacularSwaggerSplitView):
    """Swagger UI under the site's own policy: page and script are separate, nothing is inline."""

    template_name = "api_docs/swagger.html"


# Redoc fills an empty <style> element by script (styled-components) and adds one with the styles of its scroll bars.
# The two are let through by their hashes, on this page alone: nothing else inline is. Its search runs in a worker made
# from a blob. The logo that it would fetch from a content network stays blocked.
REDOC_STYLES = [
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
]


@method_decorator(csp_update({"style-src": [SELF, *REDOC_STYLES], "worker-src": ["blob:"]}), name="dispatch")
class RedocView(SpectacularRedocView):
    """Redoc, which finds its element by itself."""

    template_name = "api_docs/redoc.html"


@require_safe
def developers(request: HttpRequest) -> HttpResponse:
    """The page for app developers, which is docs/app-developers.md."""
    return render(request, "api_docs/developers.html", {"guide": render_guide(GUIDE.read_text(encoding="utf-8"))})


@lru_cache(maxsize=2)
def render_guide(markdown: str) -> SafeString:
    """Our own Markdown → HTML without its title, each heading with an id to link to, wide things scrollable."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown.partition("\n")[2])
    for heading, words in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", slugify(words.content))
    html = str(parser.renderer.render(tokens, parser.options, {}))
    html = html.replace("<table>", '<div class="scroll" tabindex="0" role="group"><table>')
    html = html.replace("</table>", "</table></div>").replace("<pre>", '<pre tabindex="0">')
    return mark_safe(html)  # noqa: S308 -- a file of this repository, and raw HTML in it is shown as text
