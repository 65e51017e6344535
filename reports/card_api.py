"""/api/v1/: whether the result of an analysis is public, and where."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Code, SentinelError
from accounts.schema import ALWAYS, refusals
from accounts.times import UtcField
from media_analysis import cards, selectors
from media_analysis.api import PUBLIC_ID
from media_analysis.models import ResultCard
from reports.card_views import address_of, picture_address_of

A_CARD = {
    "id": "5f12f98cf85c333030ea30ce",
    "url": "https://sentinel.example.org/r/5f12f98cf85c333030ea30ce/",
    "picture_url": "https://sentinel.example.org/r/5f12f98cf85c333030ea30ce.png",
    "published_at": "2026-11-23T04:42:40.118000Z",
}
THERE = OpenApiExample("Public", value=A_CARD, response_only=True)
SIGNED_IN = (Code.NOT_AUTHENTICATED, *ALWAYS)


class CardOutput(serializers.Serializer[ResultCard]):
    id = serializers.CharField(source="public_id", help_text="The card's id, which is in its address.")
    url = serializers.SerializerMethodField(
        help_text="The page that everybody can see. `?lang=` asks for a language of the site."
    )
    picture_url = serializers.SerializerMethodField(
        help_text="Its picture as PNG of 1200 × 630 pixels, for previews. `?lang=` asks for a language of the site."
    )
    published_at = UtcField(help_text="Since when it is public.")

    def get_url(self, card: ResultCard) -> str:
        return address_of(self.context["request"], card)

    def get_picture_url(self, card: ResultCard) -> str:
        return picture_address_of(self.context["request"], card)


class CardView(APIView):
    """The public result card of an analysis: one at most."""

    @extend_schema(
        summary="The public card of a result",
        description="`404` where the result is not public.",
        tags=["reports"],
        parameters=[PUBLIC_ID],
        responses={
            200: OpenApiResponse(CardOutput, description="It is public.", examples=[THERE]),
            **refusals(*SIGNED_IN, Code.NOT_FOUND),
        },
    )
    def get(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        card = cards.card_of(selectors.get_analysis(user, public_id))
        if card is None:
            raise SentinelError(Code.NOT_FOUND)
        return Response(CardOutput(card, context={"request": request}).data)

    @extend_schema(
        summary="Make a result public",
        description="Everybody who has the link then sees the verdict, the confidence, the stretches called fake, when "
        "it was examined, the detector with its error rates, and the file's SHA-256: not the file, its name, any "
        "picture of it, the case, or whose it is. However often it is asked, there is one card. Only the file's owner "
        "may.",
        tags=["reports"],
        parameters=[PUBLIC_ID],
        request=None,
        responses={
            200: OpenApiResponse(CardOutput, description="It is public, now or since before.", examples=[THERE]),
            **refusals(
                Code.FORBIDDEN,
                Code.NOT_FINISHED,
                SentinelError(Code.NO_RESULT, text=cards.FAILED),
                Code.NOT_FOUND,
                *SIGNED_IN,
            ),
        },
    )
    def post(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        card = cards.publish(selectors.get_analysis(user, public_id), by=user)
        return Response(CardOutput(card, context={"request": request}).data)

    @extend_schema(
        summary="Take a public result back",
        description="Its page and picture are gone at once. Made public again it gets another address.",
        tags=["reports"],
        parameters=[PUBLIC_ID],
        responses={
            204: OpenApiResponse(description="It is not public, now or since before."),
            **refusals(Code.FORBIDDEN, Code.NOT_FOUND, *SIGNED_IN),
        },
    )
    def delete(self, request: Request, public_id: str) -> Response:
        user: Any = request.user
        analysis = selectors.get_analysis(user, public_id)
        if card := cards.card_of(analysis):
            cards.withdraw(card, by=user)
        elif analysis.media.owner_id != user.pk:
            raise SentinelError(Code.FORBIDDEN)
        return Response(status=status.HTTP_204_NO_CONTENT)
