"""/api/v1/health/, ready/ and live/: for those who run the site, and for apps that wonder whether to wait."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code
from accounts.schema import refusals
from media_analysis import health, readiness
from media_analysis import health_serializers as serializers
from ml import __version__

FIT = {
    "fit": True,
    "web": {"ok": True, "version": __version__},
    "database": {"ok": True, "milliseconds": 1.2},
    "queue": {
        **{"waiting": 3, "running": 1, "oldest_waiting_seconds": 12.5, "unserved": 0},
        "lanes": [{"lane": "default", "waiting": 3, "running": 1, "oldest_waiting_seconds": 12.5, "workers": 1}],
    },
    "workers": {"ok": True, "alive": 1, "last_seen_at": "2026-11-22T18:05:11Z"},
    "detector": {"loaded": True, "name": "sentinel-lite", "version": "2.0.0"},
}
UNFIT = {
    **FIT,
    "fit": False,
    "queue": {
        **{"waiting": 3, "running": 0, "oldest_waiting_seconds": 92.5, "unserved": 3},
        "lanes": [{"lane": "default", "waiting": 3, "running": 0, "oldest_waiting_seconds": 92.5, "workers": 0}],
    },
    "workers": {"ok": False, "alive": 0, "last_seen_at": None},
    "detector": {"loaded": False, "name": "", "version": ""},
}

READY = {"ready": True, "database": True, "queue": True, "storage": True, "draining": False}


class PublicView(APIView):
    """For everybody, as often as they like, and never kept."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


class HealthView(PublicView):
    """Whether the site can take work."""

    @extend_schema(
        summary="Whether the site can take work",
        description="503 with the same body when the database does not answer within two seconds or no worker was "
        "heard of for 30: files are still accepted while only the worker is away, but nobody examines them. Workers "
        "load the detector when they start: for some seconds then, none is loaded yet.",
        tags=["service"],
        auth=[],
        responses={
            200: serializers.HealthOutput,
            503: OpenApiResponse(serializers.HealthOutput, description="The database or the worker is missing."),
            **refusals(Code.NOT_ACCEPTABLE),
        },
        examples=[
            OpenApiExample("Fit", value=FIT, response_only=True, status_codes=[200]),
            OpenApiExample("No worker", value=UNFIT, response_only=True, status_codes=[503]),
        ],
    )
    def get(self, request: Request) -> Response:
        state = health.check_health()
        output = serializers.HealthOutput(serializers.describe_health(state))
        return Response(output.data, status=200 if state.fit else 503)


class ReadyView(PublicView):
    """Whether this web process should be sent requests."""

    @extend_schema(
        summary="Whether this web process should be sent requests",
        description="For whatever spreads requests over several of them: 503 with the same body while its database or "
        "the storage of media does not answer within two seconds, or while it is being taken out of service. Neither "
        "the queue nor a worker has to be there for a request: what is accepted meanwhile is examined later.",
        tags=["service"],
        auth=[],
        responses={
            200: serializers.ReadyOutput,
            503: OpenApiResponse(serializers.ReadyOutput, description="Ask another one."),
            **refusals(Code.NOT_ACCEPTABLE),
        },
        examples=[
            OpenApiExample("Ready", value=READY, response_only=True, status_codes=[200]),
            OpenApiExample(
                "Being taken out",
                value={**READY, "ready": False, "draining": True},
                response_only=True,
                status_codes=[503],
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        state = readiness.check_readiness()
        return Response(serializers.ReadyOutput(state).data, status=200 if state.ready else 503)


class LiveView(PublicView):
    """Whether the web process answers at all."""

    @extend_schema(
        summary="Whether the web process answers",
        description="Asks nobody else: a supervisor that restarts the web process should look here, since a new start "
        "of it mends neither the database nor the worker.",
        tags=["service"],
        auth=[],
        responses={200: serializers.LiveOutput, **refusals(Code.NOT_ACCEPTABLE)},
        examples=[OpenApiExample("Alive", value={"alive": True}, response_only=True, status_codes=[200])],
    )
    def get(self, request: Request) -> Response:
        return Response(serializers.LiveOutput({"alive": True}).data)
