"""What the phone apps' endpoints about files take and give: the published names, each described for the schema."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.serializers import TextField
from media_analysis.case_serializers import MobileCaseInput
from media_analysis.mobile_selectors import HistoryStatus

ID_HELP = "24 hexadecimal characters."
MAX_LINK_LENGTH = 2000
MAX_NAME_LENGTH = 100


def user_id() -> TextField:
    return TextField(
        required=False,
        allow_blank=True,
        allow_null=True,
        max_length=MAX_NAME_LENGTH,
        help_text="May be absent: it is the token's user, and can be nobody else.",
    )


def file_id(what: str) -> TextField:
    return TextField(max_length=MAX_NAME_LENGTH, help_text=f"The {what}'s id: {ID_HELP}")


class UserInput(serializers.Serializer[None]):
    userId = user_id()


class VideoInput(UserInput):
    videoId = file_id("video")


class ImageInput(UserInput):
    imageId = file_id("image")


class ImageFileInput(serializers.Serializer[None]):
    imageFile = TextField(max_length=MAX_NAME_LENGTH, help_text="The name that `GET /get-image` gave.")


class RemoveImageInput(ImageInput):
    imageFile = TextField(max_length=MAX_NAME_LENGTH, help_text="The name that `GET /get-image` gave for this image.")


class ClassifyInput(MobileCaseInput):
    """A link in place of a video, and the police case, all fields of which may be absent. Others are ignored."""

    userId = user_id()
    youtubeLink = TextField(
        required=False, allow_blank=True, allow_null=True, max_length=MAX_LINK_LENGTH, help_text="A link to a video."
    )
    url = TextField(
        required=False,
        allow_blank=True,
        allow_null=True,
        max_length=MAX_LINK_LENGTH,
        help_text="The same as `youtubeLink`.",
    )


class VideoUploadInput(ClassifyInput):
    video = serializers.FileField(help_text="The video, judged by its content.")


class ImageUploadInput(UserInput):
    image = serializers.FileField(help_text="The photo, judged by its content.")


class AcceptedOutput(serializers.Serializer[Any]):
    code = serializers.IntegerField(help_text="200")
    message = serializers.CharField(help_text="Always the text of the example.", trim_whitespace=False)
    analysisId = serializers.CharField(help_text=f"The examination's id in /api/v1/: {ID_HELP}")
    remaining = serializers.IntegerField(help_text="What is left of today's classifications.")


class VideoAcceptedOutput(AcceptedOutput):
    videoId = serializers.CharField(help_text=f"The video's id: {ID_HELP}")


class ImageAcceptedOutput(AcceptedOutput):
    imageId = serializers.CharField(help_text=f"The image's id: {ID_HELP}")


class RemovedOutput(serializers.Serializer[Any]):
    code = serializers.IntegerField(help_text="200")
    message = serializers.CharField(help_text="Always `deletion successful`.")
    success = serializers.BooleanField(help_text="Always true.")


class ImageFileOutput(serializers.Serializer[Any]):
    code = serializers.IntegerField(help_text="200")
    imageFile = serializers.CharField(help_text="The name of the labelled picture, for `GET /get-image/image`.")


class SaidOutput(serializers.Serializer[Any]):
    feedback = serializers.CharField(help_text="`agree` or `disagree`, then `: ` and the comment if any; may be empty.")
    tweetId = serializers.CharField(help_text="The tweet that the file came by; empty for uploads.")
    _id = serializers.CharField(help_text=f"The file's id: {ID_HELP}")


class FoundOutput(serializers.Serializer[Any]):
    _id = serializers.CharField(help_text=f"The file's id: {ID_HELP}")
    fileName = serializers.CharField(help_text="`video-<id>.<suffix by content>` or `image-<id>.jpg`.")
    status = serializers.ChoiceField(choices=HistoryStatus.choices, help_text="How far it is, or what was found.")
    confidence = serializers.FloatField(
        allow_null=True, help_text="Percentage behind REAL or FAKE, at most 99.9; null without a verdict."
    )
    realToFakeRatio = serializers.FloatField(
        allow_null=True, help_text="Frames called real ÷ frames called fake; null if no frame is called fake."
    )
    timestamps = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        help_text="Start and end in seconds of each stretch called fake.",
    )
    fileChecksum = serializers.CharField(help_text="MD5 of the file as received.")
    sha256 = serializers.CharField(help_text="SHA-256 of the file as received.")
    duration = serializers.FloatField(help_text="In seconds; 0 for an image.")
    bitrate = serializers.IntegerField(help_text="The number of frames, whatever the name says.")
    fps = serializers.FloatField(help_text="Frames a second; 0 for an image.")
    fileSize = serializers.IntegerField(help_text="In bytes.")
    timeToProcess = serializers.FloatField(
        allow_null=True, help_text="Milliseconds that examining took; null until it is done."
    )
    createdAt = serializers.CharField(help_text="When it was received: ISO 8601 in UTC.")
    reason = serializers.CharField(
        required=False,
        help_text="Machine name of why it FAILED, could not be assessed or is inconclusive; absent otherwise.",
    )


class HistoryDataOutput(serializers.Serializer[Any]):
    id = serializers.CharField(help_text=f"The user's id: {ID_HELP}")
    vid = SaidOutput(many=True, help_text="What was said of each video, in the order of `vdata`.")
    img = SaidOutput(many=True, help_text="What was said of each image, in the order of `idata`.")
    remaining = serializers.IntegerField(help_text="What is left of today's classifications.")


class HistoryOutput(serializers.Serializer[Any]):
    code = serializers.IntegerField(help_text="200")
    message = serializers.CharField(help_text="Always `User found`.")
    # The metaclass takes fields out of the class: the property of that name stays.
    data = HistoryDataOutput(  # type: ignore[assignment]
        help_text="The user, and what was said of the files."
    )
    vdata = FoundOutput(many=True, help_text="The videos, oldest first.")
    idata = FoundOutput(many=True, help_text="The images, oldest first.")
