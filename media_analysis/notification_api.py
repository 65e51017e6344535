"""/api/v1/notifications/: what somebody was told, and marking it as read."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.http import quote_etag
from django.utils.translation import get_language
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code
from accounts.models import User
from accounts.schema import ALWAYS, refusals
from accounts.times import RowSerializer, UtcField
from media_analysis import notifications
from media_analysis.models import Notification
from media_analysis.query_serializers import NotificationFilterInput, read_query

# So many are shown at once when several examinations end together.
NEWEST = 3
EXAMPLE = {
    "id": "5f12f436f85c333030ea30ca",
    "analysis": "5f12f98cf85c333030ea30cb",
    "kind": "done",
    "name": "clip.mp4",
    "text": "Signs of manipulation found",
    "url": "/analyses/5f12f98cf85c333030ea30cb/",
    "created_at": "2026-11-23T08:05:11.123456Z",
    "read_at": None,
}
STATE_EXAMPLE = {"unread": 1, "under_way": 0, "newest": [EXAMPLE]}


class NotificationOutput(RowSerializer[Notification]):
    """An examination of the user ended."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    analysis = serializers.CharField(source="analysis.public_id", help_text="The analysis that ended.")
    kind = serializers.ChoiceField(
        choices=Notification.Kind.choices, help_text="How it ended; `expiring`: its file will be deleted."
    )
    name = serializers.CharField(source="analysis.media.original_name", help_text="The file's name as received.")
    text = serializers.SerializerMethodField(help_text="What there is to say, in the language asked for.")
    url = serializers.SerializerMethodField(help_text="The page of the result.")
    created_at = UtcField(help_text="When it was written.")
    read_at = UtcField(allow_null=True, help_text="When it was read; null if it was not.")

    class Meta:
        model = Notification
        fields = ("id", "analysis", "kind", "name", "text", "url", "created_at", "read_at")

    def get_text(self, notification: Notification) -> str:
        return notifications.notification_text(notification)

    def get_url(self, notification: Notification) -> str:
        return notifications.result_url(notification)


class NotificationStateOutput(serializers.Serializer[Any]):
    """The little that a page asks for again and again while something is examined."""

    unread = serializers.IntegerField(help_text="How many are unread.")
    under_way = serializers.IntegerField(help_text="How many of the user's analyses have not ended.")
    newest = NotificationOutput(many=True, help_text="The newest unread ones, three at most.")


def _user_of(request: Request) -> User:
    user: Any = request.user
    return user  # type: ignore[no-any-return]


class NotificationListView(generics.ListAPIView[Notification]):
    """What the user was told."""

    serializer_class = NotificationOutput
    # The schema generator asks for a model without a user.
    queryset = Notification.objects.none()

    def get_queryset(self) -> QuerySet[Notification]:
        user: Any = self.request.user
        if not user.is_authenticated:
            return Notification.objects.none()
        asked = read_query(NotificationFilterInput, self.request.query_params)
        if asked.get("unread") == "true":
            return notifications.unread_of(user)
        return notifications.notifications_of(user)

    @extend_schema(
        operation_id="notifications_list",
        summary="Your notifications, newest first",
        description="One for each time that an examination of yours ended. They go with the file when it is deleted.",
        tags=["account"],
        parameters=[NotificationFilterInput],
        responses={
            200: OpenApiResponse(
                NotificationOutput(many=True),
                description="A page of notifications.",
                examples=[OpenApiExample("notifications", value=EXAMPLE, response_only=True)],
            ),
            **refusals(Code.INVALID_FIELD, Code.NOT_AUTHENTICATED, Code.NOT_FOUND, *ALWAYS),
        },
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class NotificationStateView(APIView):
    """How many are unread and under way."""

    @extend_schema(
        operation_id="notifications_state",
        summary="How many notifications are unread",
        description=(
            "For asking again and again while something is examined: send the `ETag` received last as "
            "`If-None-Match`, and an unchanged state is answered 304 without a body."
        ),
        tags=["account"],
        responses={
            200: OpenApiResponse(
                NotificationStateOutput,
                description="The state.",
                examples=[OpenApiExample("state", value=STATE_EXAMPLE, response_only=True)],
            ),
            304: OpenApiResponse(description="Nothing has changed."),
            **refusals(Code.NOT_AUTHENTICATED, *ALWAYS),
        },
    )
    def get(self, request: Request) -> Response:
        user = _user_of(request)
        newest = list(notifications.unread_of(user)[:NEWEST])
        unread, under_way = notifications.unread_of(user).count(), notifications.under_way(user)
        names = "-".join(notification.public_id for notification in newest)
        state = {"unread": unread, "under_way": under_way, "newest": newest}
        # Never kept by a browser, which may be shared: the page remembers the tag itself.
        headers = {
            "ETag": quote_etag(f"{unread}-{under_way}-{names}-{get_language()}"),
            "Cache-Control": "private, no-store",
        }
        return Response(NotificationStateOutput(state).data, headers=headers)


class NotificationReadView(APIView):
    """One notification as read."""

    @extend_schema(
        operation_id="notifications_read",
        summary="Mark a notification as read",
        description="Marking it twice does no harm.",
        tags=["account"],
        request=None,
        responses={204: None, **refusals(Code.NOT_AUTHENTICATED, Code.NOT_FOUND, *ALWAYS)},
    )
    def post(self, request: Request, public_id: str) -> Response:
        notifications.mark_read(_user_of(request), public_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class NotificationsReadView(APIView):
    """All notifications as read."""

    @extend_schema(
        operation_id="notifications_read_all",
        summary="Mark all notifications as read",
        description="Those that come afterwards are unread again.",
        tags=["account"],
        request=None,
        responses={204: None, **refusals(Code.NOT_AUTHENTICATED, *ALWAYS)},
    )
    def post(self, request: Request) -> Response:
        notifications.mark_all_read(_user_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)
