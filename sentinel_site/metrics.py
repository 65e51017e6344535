"""/metrics: figures for Prometheus, for those whom SENTINEL_METRICS names. See docs/operations.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

LOOPBACK = ("127.0.0.0/8", "::1/128")
# Networks wider than these are no network that somebody means.
WIDEST = {4: 8, 6: 32}
SHORTEST_TOKEN = 16
# Any of them says that the request came through somebody else.
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


@dataclass(frozen=True, slots=True)
class Readers:
    """Who may read the figures: whoever asks from one of the networks, or knows the token. Nobody by default."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    token: str = ""

    def __bool__(self) -> bool:
        return bool(self.networks or self.token)

    def include(self, request: HttpRequest) -> bool:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if self.token and kind.lower() == "bearer" and compare_digest(given.strip().encode(), self.token.encode()):
            return True
        try:
            address = ip_address(asked_from(request))
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.networks)


def read_readers(entries: Sequence[str], token: str) -> Readers:
    """What SENTINEL_METRICS means: `loopback`, `token`, addresses and networks. Raises ImproperlyConfigured.

    A network that would be everybody is refused, and so is a token that is missing or can be guessed.
    """
    networks: list[IPv4Network | IPv6Network] = []
    for entry in entries:
        if entry == "loopback":
            networks += [ip_network(each) for each in LOOPBACK]
        elif entry != "token":
            try:
                network = ip_network(entry)
            except ValueError as error:
                raise ImproperlyConfigured(f"SENTINEL_METRICS: {error}") from error
            if network.prefixlen < WIDEST[network.version]:
                raise ImproperlyConfigured(
                    f"SENTINEL_METRICS: {entry} is half the world. Name the network of your monitoring, or use a token."
                )
            networks.append(network)
    wants_token = "token" in entries
    if wants_token and len(token) < SHORTEST_TOKEN:
        raise ImproperlyConfigured(
            f"SENTINEL_METRICS wants a token: SENTINEL_METRICS_TOKEN has to hold {SHORTEST_TOKEN} characters or more."
        )
    return Readers(tuple(networks), token if wants_token else "")


def asked_from(request: HttpRequest) -> str:
    """The address that asks; empty where nobody can tell.

    A request that came through a proxy has the proxy's address, which is often our own: only a proxy that is trusted
    (SENTINEL_BEHIND_PROXY) may say for whom it asks, and one that is not speaks for nobody.
    """
    if not any(name in request.META for name in FORWARDED):
        return str(request.META.get("REMOTE_ADDR") or "")
    if settings.SENTINEL_BEHIND_PROXY:
        return str(request.META.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2].strip()
    return ""


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures as text. For everybody else there is nothing here."""
    if not settings.SENTINEL_METRICS.include(request):
        raise Http404
    # Only here: sites without metrics do without the library.
    from sentinel_site import measures

    response = HttpResponse(measures.exposition(), content_type=measures.CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    return response
