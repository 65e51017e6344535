"""What /api/v1/ takes and gives, every field described: the schema is made from this."""

from __future__ import annotations

import re
from typing import Any

from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.ids import PUBLIC_ID_PATTERN
from accounts.times import RowSerializer, UtcField
from media_analysis import health, scheduling
from media_analysis.case_details import case_of
from media_analysis.case_serializers import CaseDetailsInput, CaseOutput
from media_analysis.feedback import MAX_COMMENT_LENGTH
from media_analysis.health import Health
from media_analysis.link_words import link_of
from media_analysis.model_cards import ModelFacts
from media_analysis.models import Analysis, DeletionReceipt, Feedback, LinkSource, Media, ResumableUpload
from media_analysis.resumable import offset_of
from media_analysis.safe_http import MAX_URL_LENGTH
from media_analysis.wording import reason_text, verdict_text
from ml import __version__
from ml.contracts import (
    Branch,
    Compression,
    Copy,
    CredentialsStatus,
    FaceSize,
    FactsPart,
    NotMeasuredReason,
    Outcome,
    Reason,
)

MAX_PAGE_SIZE = 100
PICTURE_KINDS = ["frame", "sample", "crop", "heat", "labelled"]
PICTURE_NAME = re.compile(r"(?P<kind>crop|heat|frame|sample|labelled)(?:-(?P<first>\d+))?(?:-(?P<second>\d+))?\.jpg")


def _choices(kind: Any) -> list[str]:
    return [str(value) for value in kind]


ANALYSIS_HELP: dict[str, dict[str, str]] = {
    "status": {"help_text": "Where it stands: queued, running, done or failed."},
    "stage": {
        "help_text": "What a running one is doing; `fetching` for a queued one whose file is still to come from its "
        "link; empty otherwise."
    },
    "progress": {"help_text": "In percent; 100 once done."},
    "outcome": {"help_text": "What was found; empty until done."},
    "reason": {"help_text": "Machine name of why there is no verdict; empty with a verdict, or until done."},
    "error_code": {"help_text": "Machine name of why it failed; empty unless it did."},
    "fake_probability": {"help_text": "0 to 1, 1 means fake: the most suspicious person's. Null without a score."},
    "pooled_probability": {"help_text": "All faces of all persons together, for comparison. Null without a score."},
    "confidence": {"help_text": "Percentage behind the verdict; null without a verdict."},
    "real_frames": {"help_text": "Frames called real; null until done."},
    "fake_frames": {"help_text": "Frames called fake; null until done."},
    "detector": {"help_text": "Name of the detector; empty until done."},
    "detector_version": {"help_text": "Its version."},
    "software_version": {"help_text": "The version of Sentinel."},
    "seconds": {"help_text": "What the examination took; null until done."},
    "attempts": {"help_text": "How many times it was begun."},
    "created_at": {"help_text": "When it was accepted."},
    "started_at": {"help_text": "When it was last begun; null while it has not been."},
    "finished_at": {"help_text": "When it was done or failed; null before."},
}


class IntakeInput(CaseDetailsInput):
    """What may come with any file: the police case that it belongs to, and the case here that it shall go into."""

    add_to_case = serializers.RegexField(
        f"^{PUBLIC_ID_PATTERN}$",
        required=False,
        allow_blank=True,
        help_text="An open case of which you are owner or examiner: the file is put into it.",
    )
    detector = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=64,
        help_text="Which of the detectors that this site offers shall examine a file or upload; without it, the site's "
        "own. Not with a link.",
    )

    def validate_detector(self, value: str) -> str:
        if value and value not in scheduling.offered_detectors():
            raise serializers.ValidationError(_("This detector is not offered here."))
        return value


class UploadInput(IntakeInput):
    """A file with the request."""

    file = serializers.FileField(help_text="The video or photo, judged by its content.")


class ReferenceInput(IntakeInput):
    """A file that is elsewhere: exactly one of upload and link."""

    upload_id = serializers.RegexField(
        f"^{PUBLIC_ID_PATTERN}$", required=False, help_text="A resumable upload that is complete."
    )
    url = serializers.CharField(
        required=False,
        max_length=MAX_URL_LENGTH,
        help_text="A link to a video on a site such as YouTube, or to a video or photo itself.",
    )
    start = serializers.FloatField(
        required=False,
        min_value=0,
        help_text="Of a video at a `url`, examine the part from here on: seconds from its start. Goes with `end`.",
    )
    end = serializers.FloatField(required=False, min_value=0, help_text="The end of that part, in seconds.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("start" in attrs) != ("end" in attrs) or ("start" in attrs and "url" not in attrs):
            raise serializers.ValidationError({"start": [_("A part of a link has a start and an end.")]})
        if attrs.get("detector") and "url" in attrs:
            raise serializers.ValidationError({"detector": [_("A detector can be chosen for a file, not for a link.")]})
        if "upload_id" in attrs and "url" in attrs:
            raise serializers.ValidationError(_("Give a file, an upload or a link: one of them."))
        return attrs


def read_query(shape: type[serializers.Serializer[None]], query: QueryDict) -> dict[str, Any]:
    """What a query asks for. Raises ValidationError, also for what is said twice or left empty."""
    twice = [name for name, values in query.lists() if len(values) > 1]
    if twice:
        raise serializers.ValidationError({name: [_("Say this once.")] for name in twice})
    # A plain mapping: of a form, an empty field would count as one that is absent.
    asked = shape(data=query.dict())
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


class PageInput(serializers.Serializer[None]):
    """Which part of a list."""

    page = serializers.IntegerField(required=False, min_value=1, help_text="Which page, from 1.")
    page_size = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_PAGE_SIZE, help_text="How many on a page; 20 unless said otherwise."
    )


class NotificationFilterInput(serializers.Serializer[None]):
    """Which notifications."""

    page = serializers.IntegerField(required=False, min_value=1, help_text="Which page, from 1.")
    unread = serializers.ChoiceField(
        required=False, choices=["true", "false"], help_text="`true`: only the unread ones."
    )


class AnalysisFilterInput(PageInput):
    """What narrows a list of analyses down."""

    state = serializers.ChoiceField(
        required=False,
        choices=[*Analysis.Status.values, *Analysis.Outcome.values],
        help_text="Only those with this status or outcome.",
    )
    kind = serializers.ChoiceField(required=False, choices=Media.Kind.values, help_text="Only videos, or only photos.")
    name = serializers.CharField(
        required=False, max_length=255, help_text="Only those whose file name contains this, in either case."
    )
    created_after = serializers.DateTimeField(required=False, help_text="Only those received at this time or later.")
    created_before = serializers.DateTimeField(required=False, help_text="Only those received before this time.")


class MediaOutput(RowSerializer[Media]):
    """The file as received."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")

    class Meta:
        model = Media
        fields = (
            "id",
            "kind",
            "original_name",
            "size",
            "sha256",
            "md5",
            "container",
            "codec",
            "width",
            "height",
            "rotation",
            "duration",
            "frame_rate",
            "frame_count",
            "bit_rate",
            "has_audio",
            "created_at",
        )
        extra_kwargs = {
            "kind": {"help_text": "Video or photo."},
            "original_name": {"help_text": "The name it came with, without folders."},
            "size": {"help_text": "In bytes."},
            "sha256": {"help_text": "SHA-256 of the bytes as received: the one that reports rely on."},
            "md5": {"help_text": "MD5 of the bytes as received."},
            "container": {"help_text": "The container format, as the decoder names it."},
            "codec": {"help_text": "The codec of the pictures."},
            "width": {"help_text": "In pixels, as displayed."},
            "height": {"help_text": "In pixels, as displayed."},
            "rotation": {"help_text": "Degrees clockwise that a player turns it: 0, 90, 180 or 270."},
            "duration": {"help_text": "In seconds; 0 for a photo."},
            "frame_rate": {"help_text": "Frames a second; 0 for a photo."},
            "frame_count": {"help_text": "Number of frames; 1 for a photo."},
            "bit_rate": {"help_text": "Bits a second; 0 if unknown."},
            "has_audio": {"help_text": "Whether there is sound."},
            "created_at": {"help_text": "When it was received."},
        }


class LinkOutput(RowSerializer[LinkSource]):
    """Where a file was fetched from. What it says of the video is the site's word, not ours."""

    uploaded = serializers.CharField(
        help_text="When it was uploaded, as the site says: a moment or a day in ISO 8601; empty where it does not."
    )
    headers = serializers.DictField(
        child=serializers.CharField(), help_text="What the server said about the file, by names in small letters."
    )
    claims = serializers.DictField(
        child=serializers.CharField(),
        help_text="What was said with the link: post_url, author, posted_at, title, as far as given.",
    )
    problem = serializers.ChoiceField(
        choices=[("", ""), *LinkSource.Problem.choices],
        help_text="Why there is no file, more exactly than `error_code`; empty unless there is none.",
    )
    same_as = serializers.CharField(
        help_text="The analysis whose result this is, since the bytes are the same; empty if it was examined itself."
    )

    class Meta:
        model = LinkSource
        fields = (
            "url",
            "canonical_url",
            "site",
            "title",
            "uploader",
            "uploader_url",
            "uploaded",
            "duration",
            "claims",
            "cut_start",
            "cut_end",
            "cut_from",
            "cut_to",
            "whole_sha256",
            "whole_size",
            "file_url",
            "server_address",
            "headers",
            "fetched_with",
            "fetched_at",
            "problem",
            "same_as",
            "same_as_at",
        )
        extra_kwargs = {
            "url": {"help_text": "The link as it was given."},
            "canonical_url": {"help_text": "The lasting link, as the site names it; empty where it does not."},
            "site": {"help_text": "The site."},
            "title": {"help_text": "The video's title there."},
            "uploader": {"help_text": "Who uploaded it."},
            "uploader_url": {"help_text": "Their page."},
            "duration": {"help_text": "Of the whole video in seconds; null where the site does not say."},
            "cut_start": {"help_text": "The part that was asked for begins here, in seconds; null for the whole."},
            "cut_end": {"help_text": "And ends here."},
            "cut_from": {"help_text": "The part that was cut out begins here, at a key frame; null for the whole."},
            "cut_to": {"help_text": "And ends here."},
            "whole_sha256": {"help_text": "SHA-256 of the whole file that the part was cut from, which is not kept."},
            "whole_size": {"help_text": "Its size in bytes; null for the whole."},
            "file_url": {"help_text": "The address that the file came from."},
            "server_address": {"help_text": "The network address that it came from."},
            "fetched_with": {"help_text": "The program that fetched it."},
            "fetched_at": {"help_text": "When it was fetched; null until then."},
            "same_as_at": {"help_text": "When that analysis was finished; null if it was examined itself."},
        }


class ProgressOutput(RowSerializer[Analysis]):
    """The little that a waiting page asks for again and again."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    stage_text = serializers.CharField(source="get_stage_display", help_text="The stage in words.")
    queue_position = serializers.SerializerMethodField(
        help_text="How many analyses will be examined before this one, if no others come."
    )
    served = serializers.SerializerMethodField(
        help_text="False while it waits and no worker is running that could examine it."
    )
    finished = serializers.BooleanField(source="is_finished", help_text="Whether the status will not change any more.")

    class Meta:
        model = Analysis
        fields = ("id", "status", "stage", "stage_text", "progress", "queue_position", "served", "finished")
        extra_kwargs = ANALYSIS_HELP

    def get_queue_position(self, analysis: Analysis) -> int:
        return scheduling.position(analysis)

    def get_served(self, analysis: Analysis) -> bool:
        return analysis.status != Analysis.Status.QUEUED or not analysis.lane or health.is_served(analysis)


class AnalysisSummaryOutput(RowSerializer[Analysis]):
    """An analysis without its faces."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    media = MediaOutput()
    verdict = serializers.SerializerMethodField(help_text="The verdict in plain words.")
    reason_text = serializers.SerializerMethodField(help_text="The reason in plain words.")
    real_to_fake_ratio = serializers.FloatField(
        allow_null=True, help_text="Frames called real ÷ frames called fake; null when none is called fake."
    )
    weights_sha256 = serializers.ListField(
        child=serializers.CharField(), help_text="SHA-256 of the detector's weights; empty until done."
    )

    class Meta:
        model = Analysis
        fields: tuple[str, ...] = (
            "id",
            "media",
            "status",
            "stage",
            "progress",
            "outcome",
            "reason",
            "reason_text",
            "verdict",
            "error_code",
            "fake_probability",
            "pooled_probability",
            "confidence",
            "real_frames",
            "fake_frames",
            "real_to_fake_ratio",
            "detector",
            "detector_version",
            "weights_sha256",
            "software_version",
            "seconds",
            "attempts",
            "created_at",
            "started_at",
            "finished_at",
        )
        extra_kwargs = ANALYSIS_HELP

    def get_verdict(self, analysis: Analysis) -> str:
        return verdict_text(analysis)

    def get_reason_text(self, analysis: Analysis) -> str:
        return reason_text(analysis)


class FaceOutput(serializers.Serializer[Any]):
    """One judged face."""

    frame = serializers.IntegerField(help_text="Index of the decoded frame, from 0.")
    time = serializers.FloatField(help_text="Seconds from the first frame.")
    box = serializers.ListField(
        child=serializers.IntegerField(),
        min_length=4,
        max_length=4,
        help_text="Left, top, right, bottom in pixels of the upright frame; right and bottom exclusive.",
    )
    detection_probability = serializers.FloatField(help_text="The face detector's certainty, 0 to 1.")
    fake_probability = serializers.FloatField(help_text="0 to 1; 1 means fake.")


class VotingOutput(serializers.Serializer[Any]):
    """How the scores of faces became one score."""

    branches = serializers.ListField(
        child=serializers.ChoiceField(choices=_choices(Branch)),
        help_text="For each network, which scores were averaged: those surely fake, those clearly real, or all.",
    )
    plain_mean = serializers.FloatField(help_text="The mean of all scores, for comparison.")
    faces = serializers.IntegerField(help_text="How many faces were judged.")
    confident = serializers.IntegerField(help_text="How many of them scored above 0.8.")
    clearly_real = serializers.IntegerField(help_text="How many of them scored below 0.2.")


class TimestampsField(serializers.ListField):
    """Stretches of time as [start, end] in seconds."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("help_text", "[start, end] in seconds of each stretch called fake.")
        pair = serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2)
        super().__init__(child=pair, **options)


class TrackOutput(serializers.Serializer[Any]):
    """One person through the file."""

    index = serializers.IntegerField(help_text="Number of the person, from 0.")
    fake_probability = serializers.FloatField(help_text="This person's score, 0 to 1; 1 means fake.")
    faces = FaceOutput(many=True, help_text="The judged faces in order of time.")
    timestamps = TimestampsField()
    best_frame = serializers.IntegerField(help_text="Index of the frame with the most suspicious face.")
    voting = VotingOutput(allow_null=True, help_text="How this person's faces were counted; null if not recorded.")


class SampledFrameOutput(serializers.Serializer[Any]):
    """A frame that was looked at."""

    index = serializers.IntegerField(help_text="Index of the decoded frame, from 0.")
    time = serializers.FloatField(help_text="Seconds from the first frame.")


class DecodedMediaOutput(serializers.Serializer[Any]):
    """The file as the decoder saw it when it was examined."""

    kind = serializers.ChoiceField(choices=Media.Kind.choices, help_text="Video or photo.")
    container = serializers.CharField(help_text="The container format.")
    codec = serializers.CharField(help_text="The codec of the pictures.")
    width = serializers.IntegerField(help_text="In pixels, as displayed.")
    height = serializers.IntegerField(help_text="In pixels, as displayed.")
    rotation = serializers.IntegerField(help_text="Degrees clockwise: 0, 90, 180 or 270.")
    duration = serializers.FloatField(help_text="In seconds; 0 for a photo.")
    frame_rate = serializers.FloatField(help_text="Frames a second; 0 for a photo.")
    frame_count = serializers.IntegerField(help_text="Number of frames; 1 for a photo.")
    bit_rate = serializers.IntegerField(help_text="Bits a second; 0 if unknown.")
    has_audio = serializers.BooleanField(help_text="Whether there is sound.")
    jpeg_quality = serializers.IntegerField(
        allow_null=True, help_text="Estimated quality of a JPEG, 1 to 100; 0 for everything else."
    )


class CredentialsOutput(serializers.Serializer[Any]):
    """Signed claims in the file (Content Credentials, C2PA); empty texts where they say nothing."""

    status = serializers.ChoiceField(
        choices=_choices(CredentialsStatus),
        help_text="none: nothing is known, not that something is wrong. intact: the signature fits and the file was "
        "not changed since; whether the signer is who the certificate says was not checked.",
    )
    signer = serializers.CharField(help_text="Whom the certificate names.")
    issuer = serializers.CharField(help_text="Who issued the certificate.")
    signed_at = serializers.CharField(help_text="When it was signed, as written.")
    generator = serializers.CharField(help_text="The program that made the claims.")
    actions = serializers.ListField(child=serializers.CharField(), help_text="Declared edits by their C2PA names.")
    declares_generated = serializers.BooleanField(
        help_text="Whether the signer says that a machine made the picture or part of it."
    )


class FactsOutput(serializers.Serializer[Any]):
    """What the file says about itself: claims that anyone can write or remove. What is absent is unknown."""

    encoders = serializers.ListField(child=serializers.CharField(), help_text="Encoders that left their name.")
    created = serializers.CharField(help_text="When it was made, as written.")
    has_location = serializers.BooleanField(help_text="Whether a place is recorded, which is not kept.")
    camera = serializers.CharField(help_text="Make and model.")
    software_tags = serializers.ListField(child=serializers.CharField(), help_text="Texts of programs as found.")
    known_software = serializers.ListField(child=serializers.CharField(), help_text="Programs recognised in them.")
    credentials = CredentialsOutput()
    problems = serializers.ListField(
        child=serializers.ChoiceField(choices=_choices(FactsPart)), help_text="Parts that could not be read."
    )


class CopyOutput(serializers.Serializer[Any]):
    """One kind of worse copy."""

    copy = serializers.ChoiceField(choices=_choices(Copy), help_text="How the copy was made.")
    fake_probability = serializers.FloatField(help_text="Mean of the chosen faces on it, 0 to 1.")


class StabilityOutput(serializers.Serializer[Any]):
    """Some faces judged again on worse copies."""

    faces = serializers.IntegerField(help_text="How many faces.")
    original = serializers.FloatField(help_text="Their mean fake probability as they were.")
    copies = CopyOutput(many=True, help_text="What the copies gave.")
    seconds = serializers.FloatField(help_text="What it took.")


class CountedShareOutput(serializers.Serializer[Any]):
    """A count as a share with its exact 95 % interval."""

    count = serializers.IntegerField(help_text="How many files.")
    files = serializers.IntegerField(help_text="Of how many.")
    share = serializers.FloatField(help_text="count ÷ files.")
    low = serializers.FloatField(help_text="Lower end of the interval.")
    high = serializers.FloatField(help_text="Upper end of the interval.")


class ErrorRatesOutput(serializers.Serializer[Any]):
    """How often the detector erred on files of the same kind whose truth is known; or why that is not known."""

    measured = serializers.BooleanField(help_text="Whether it was measured. If not, only `reason` is filled.")
    reason = serializers.ChoiceField(
        allow_null=True, choices=_choices(NotMeasuredReason), help_text="Why it was not measured."
    )
    kind = serializers.ChoiceField(allow_null=True, choices=Media.Kind.choices, help_text="Of the files.")
    compression = serializers.ChoiceField(
        allow_null=True, choices=_choices(Compression), help_text="Of the files; null: all together."
    )
    face_size = serializers.ChoiceField(
        allow_null=True, choices=_choices(FaceSize), help_text="In the files; null: all together."
    )
    false_alarms = CountedShareOutput(allow_null=True, help_text="Real files called fake.")
    misses = CountedShareOutput(allow_null=True, help_text="Fake files called real.")
    found = CountedShareOutput(allow_null=True, help_text="Fake files called fake.")
    measured_on = serializers.CharField(allow_null=True, help_text="The day, as YYYY-MM-DD.")
    used_for_choosing = serializers.BooleanField(
        allow_null=True,
        help_text="Whether the detector or its thresholds were chosen by these files, so that it errs more on others.",
    )


class ResultOutput(serializers.Serializer[Any]):
    """Everything that the detector found. Null stands for what an older version did not record."""

    schema = serializers.IntegerField(help_text="Raised when the meaning or name of a field changes.")
    outcome = serializers.ChoiceField(choices=_choices(Outcome), help_text="What was found.")
    reason = serializers.ChoiceField(
        allow_null=True, choices=_choices(Reason), help_text="Why there is no verdict; null for FAKE and REAL."
    )
    fake_probability = serializers.FloatField(
        allow_null=True, help_text="That of the most suspicious person, which decides; null when nobody was judged."
    )
    pooled_probability = serializers.FloatField(
        allow_null=True, help_text="All faces of all persons together, for comparison."
    )
    confidence = serializers.FloatField(
        allow_null=True, help_text="Percentage behind the verdict; null without a verdict."
    )
    tracks = TrackOutput(many=True, help_text="The persons.")
    timestamps = TimestampsField()
    frames = SampledFrameOutput(many=True, help_text="The frames looked at.")
    real_frames = serializers.IntegerField(help_text="Frames called real.")
    fake_frames = serializers.IntegerField(help_text="Frames called fake.")
    real_to_fake_ratio = serializers.FloatField(
        allow_null=True, help_text="Frames called real ÷ frames called fake; null when none is called fake."
    )
    media = DecodedMediaOutput(allow_null=True, help_text="The file as the decoder saw it.")
    detector = serializers.CharField(help_text="Name of the detector.")
    detector_version = serializers.CharField(help_text="Its version.")
    weights_sha256 = serializers.ListField(child=serializers.CharField(), help_text="SHA-256 of its weights.")
    seconds = serializers.FloatField(help_text="What the examination took.")
    settings = serializers.DictField(
        help_text="How it was examined: thresholds, sampling, engine, precision. Further keys may come."
    )
    error_rates = ErrorRatesOutput(allow_null=True, help_text="Null where nobody was judged.")
    pooled_voting = VotingOutput(allow_null=True, help_text="Goes with `pooled_probability`.")
    stability = StabilityOutput(allow_null=True, help_text="Null where there was no verdict to try.")
    facts = FactsOutput(allow_null=True, help_text="What the file says about itself; null if that was not read.")


class PictureOutput(serializers.Serializer[Any]):
    """A picture that goes with a result."""

    name = serializers.CharField(help_text="Its name, which is part of its address.")
    url = serializers.CharField(help_text="Where it is, as a path on this site.")
    kind = serializers.ChoiceField(
        choices=PICTURE_KINDS,
        help_text="A whole frame, a small one, a face cut out, the same with what the network looked at, or the photo "
        "with each face boxed and its score.",
    )
    track = serializers.IntegerField(allow_null=True, help_text="Which person; null for whole frames.")
    frame = serializers.IntegerField(allow_null=True, help_text="Index of the frame; null for the labelled photo.")


def describe_picture(analysis: Analysis, stored: str) -> dict[str, Any]:
    """What the API says about an evidence picture, from its name in the storage."""
    name = stored.rpartition("/")[2]
    named = PICTURE_NAME.fullmatch(name)
    if named is None:
        raise ValueError(f"not the name of an evidence picture: {name!r}")
    numbers = [int(number) for number in (named["first"], named["second"]) if number is not None]
    return {
        "name": name,
        "url": reverse("picture-api", args=[analysis.public_id, name]),
        "kind": named["kind"],
        "track": numbers[0] if len(numbers) == 2 else None,
        "frame": numbers[-1] if numbers else None,
    }


class AnalysisOutput(AnalysisSummaryOutput):
    """An analysis with everything found."""

    queue_position = serializers.SerializerMethodField(help_text="How many analyses are before this one.")
    result = ResultOutput(allow_null=True, help_text="Everything that the detector found; null until it is done.")
    error_rates = serializers.SerializerMethodField(help_text="The same as in `result`, where older clients look.")
    link = serializers.SerializerMethodField(help_text="Where the file was fetched from; null if it was sent.")
    case = serializers.SerializerMethodField(help_text="The police case that the file was submitted for; null if none.")
    pictures = serializers.SerializerMethodField(help_text="Key frames, faces and, for a photo, the labelled picture.")

    class Meta(AnalysisSummaryOutput.Meta):
        fields: tuple[str, ...] = (
            *AnalysisSummaryOutput.Meta.fields,
            "queue_position",
            "result",
            "error_rates",
            "link",
            "case",
            "pictures",
        )

    def get_queue_position(self, analysis: Analysis) -> int:
        return scheduling.position(analysis)

    @extend_schema_field(ErrorRatesOutput(allow_null=True))
    def get_error_rates(self, analysis: Analysis) -> object:
        found = (analysis.result or {}).get("error_rates")
        return ErrorRatesOutput(found).data if found else None

    @extend_schema_field(LinkOutput(allow_null=True))
    def get_link(self, analysis: Analysis) -> object:
        link = link_of(analysis.media)
        return LinkOutput(link).data if link else None

    @extend_schema_field(CaseOutput(allow_null=True))
    def get_case(self, analysis: Analysis) -> object:
        case = case_of(analysis)
        return CaseOutput(case).data if case else None

    @extend_schema_field(PictureOutput(many=True))
    def get_pictures(self, analysis: Analysis) -> object:
        return PictureOutput([describe_picture(analysis, stored) for stored in analysis.evidence], many=True).data


class ReceiptOutput(RowSerializer[DeletionReceipt]):
    """What stays of a deleted file."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    media_id = serializers.CharField(source="media_public_id", help_text="The id that the file had.")

    class Meta:
        model = DeletionReceipt
        fields = ("id", "media_id", "sha256", "md5", "size", "received_at", "deleted_at")
        extra_kwargs = {
            "sha256": {"help_text": "SHA-256 of the bytes as received."},
            "md5": {"help_text": "MD5 of the bytes as received."},
            "size": {"help_text": "In bytes."},
            "received_at": {"help_text": "When the file was received."},
            "deleted_at": {"help_text": "When it was deleted."},
        }


class UploadOutput(RowSerializer[ResumableUpload]):
    """A resumable upload that no analysis was made of yet."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters; the file's id later on.")
    offset = serializers.SerializerMethodField(help_text="How many bytes have come: the next part begins there.")
    complete = serializers.SerializerMethodField(help_text="Whether all of it has come, so that it can be examined.")

    class Meta:
        model = ResumableUpload
        fields = ("id", "name", "size", "offset", "complete", "created_at", "expires_at")
        extra_kwargs = {
            "name": {"help_text": "The name it came with."},
            "size": {"help_text": "Of the whole file, in bytes."},
            "created_at": {"help_text": "When it was begun."},
            "expires_at": {"help_text": "When it will be deleted, finished or not."},
        }

    def get_offset(self, upload: ResumableUpload) -> int:
        return offset_of(upload)

    def get_complete(self, upload: ResumableUpload) -> bool:
        return offset_of(upload) == upload.size


class FeedbackInput(serializers.Serializer[None]):
    """What the owner of a finished analysis says about it."""

    opinion = serializers.ChoiceField(choices=Feedback.Opinion.choices, help_text="Whether the result is right.")
    comment = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        max_length=MAX_COMMENT_LENGTH,
        help_text="Anything more, in your own words.",
    )
    consent = serializers.BooleanField(
        default=False,
        help_text="Whether the file may be used to improve the detector. Ask for it in words of your own user, never "
        "ticked beforehand; false, or leaving it out, withdraws what was given before.",
    )


class FeedbackOutput(RowSerializer[Feedback]):
    """What was said."""

    consent = serializers.SerializerMethodField(help_text="Whether the file may be used to improve the detector.")
    consent_at = UtcField(allow_null=True, help_text="Since when; null without consent.")
    exported_at = UtcField(
        allow_null=True, help_text="When a copy was handed over for training; null if that has not happened."
    )

    class Meta:
        model = Feedback
        fields = ("opinion", "comment", "consent", "consent_at", "exported_at", "created_at", "updated_at")
        extra_kwargs = {
            "opinion": {"help_text": "Whether the result is right."},
            "comment": {"help_text": "In their own words."},
            "created_at": {"help_text": "When it was first said."},
            "updated_at": {"help_text": "When it was last changed."},
        }

    def get_consent(self, feedback: Feedback) -> bool:
        return feedback.consent_at is not None


class ThresholdsOutput(serializers.Serializer[None]):
    fake = serializers.FloatField(help_text="A person at or above it is called fake.")
    real = serializers.FloatField(help_text="At or below it real; between the two neither.")
    frame = serializers.FloatField(help_text="A single frame above it is called fake.")


class WeightsOutput(serializers.Serializer[None]):
    """A file of weights."""

    name = serializers.CharField(help_text="Name of the file.")
    sha256 = serializers.CharField(help_text="Empty until it is known.")
    size = serializers.IntegerField(allow_null=True, help_text="In bytes; null where the file is not here.")


class IntervalOutput(serializers.Serializer[None]):
    """A figure with its 95 % interval."""

    value = serializers.FloatField(help_text="The figure.")
    low = serializers.FloatField(help_text="Lower end.")
    high = serializers.FloatField(help_text="Upper end.")


class FigureRowOutput(serializers.Serializer[None]):
    group = serializers.CharField(help_text="Group of test files.")
    method = serializers.CharField(help_text="How the fakes were made; empty for all together.")
    fakes = serializers.IntegerField(help_text="How many fake files.")
    reals = serializers.IntegerField(help_text="How many real ones.")
    figures = serializers.DictField(
        child=IntervalOutput(), help_text="auc, equal_error_rate and others, each with its 95 % interval."
    )


class EvaluationOutput(serializers.Serializer[None]):
    measured_on = serializers.DateField(help_text="The day.")
    files = serializers.IntegerField(help_text="On how many files.")
    rows = FigureRowOutput(many=True, help_text="The figures by group of files and method.")


class ModelOutput(serializers.Serializer[Any]):
    """A detector of this site."""

    name = serializers.CharField(source="spec.name", help_text="Its name, which is part of its address.")
    version = serializers.CharField(source="spec.version", help_text="Its version.")
    title = serializers.CharField(source="spec.title", help_text="Its name for people.")
    licence = serializers.CharField(source="spec.licence", help_text="Under which its weights may be used.")
    architecture = serializers.CharField(source="spec.architecture", help_text="The kind of network.")
    outputs = serializers.ListField(
        child=serializers.CharField(), source="spec.outputs", help_text="What a network's outputs mean."
    )
    input_size = serializers.IntegerField(
        source="spec.preprocessing.input_size", help_text="Side of the square that a face is scaled to, in pixels."
    )
    thresholds = ThresholdsOutput(source="spec.thresholds", help_text="From which score on something is called fake.")
    weights = WeightsOutput(many=True, help_text="Its weights.")
    size = serializers.IntegerField(allow_null=True, help_text="Of all weights, in bytes; null where one is not here.")
    ready = serializers.BooleanField(help_text="Whether the weights are here and, if known, have the right digest.")
    in_use = serializers.BooleanField(help_text="Whether new files are examined with it.")
    card_url = serializers.SerializerMethodField(help_text="Where the model card is, as Markdown; null without one.")
    error_rates = serializers.SerializerMethodField(
        help_text="Counts and shares with their intervals, by kind of file, compression and size of the face, as "
        "measured for exactly these weights and thresholds; null if that was not measured."
    )
    evaluation = EvaluationOutput(
        allow_null=True, help_text="How well its scores tell fakes from reals; null if that was not measured."
    )

    @extend_schema_field({"type": ["string", "null"]})
    def get_card_url(self, model: ModelFacts) -> str | None:
        return reverse("media_analysis:model_card", args=[model.spec.name]) if model.card else None

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
    def get_error_rates(self, model: ModelFacts) -> object:
        return model.measured


class WebHealthOutput(serializers.Serializer[Any]):
    """The web process."""

    ok = serializers.BooleanField(help_text="Always true where there is an answer.")
    version = serializers.CharField(help_text="The version of Sentinel.")


class DatabaseHealthOutput(serializers.Serializer[Any]):
    """The database."""

    ok = serializers.BooleanField(help_text="Whether it answered in time.")
    milliseconds = serializers.FloatField(allow_null=True, help_text="What its answers took; null without any.")


class LaneHealthOutput(serializers.Serializer[Any]):
    """What there is to do in one lane, and by how many."""

    lane = serializers.CharField(help_text="Its name.")
    waiting = serializers.IntegerField(help_text="Analyses that wait in it.")
    running = serializers.IntegerField(help_text="Those of it that are being examined.")
    oldest_waiting_seconds = serializers.FloatField(
        allow_null=True, help_text="How long the oldest has waited; null when none waits."
    )
    workers = serializers.IntegerField(help_text="Workers that live and serve it.")


class QueueHealthOutput(serializers.Serializer[Any]):
    """What there is to do."""

    waiting = serializers.IntegerField(help_text="Analyses that wait.")
    running = serializers.IntegerField(help_text="Analyses that are being examined.")
    oldest_waiting_seconds = serializers.FloatField(
        allow_null=True, help_text="How long the oldest has waited; null when none waits."
    )
    unserved = serializers.IntegerField(help_text="Of those that wait, how many no worker that lives can examine.")
    lanes = LaneHealthOutput(many=True, help_text="The same by lane.")


class WorkersHealthOutput(serializers.Serializer[Any]):
    """Those who examine."""

    ok = serializers.BooleanField(help_text="Whether there is one.")
    alive = serializers.IntegerField(help_text="How many were heard of in the last 30 seconds.")
    last_seen_at = UtcField(allow_null=True, help_text="When; null when none was.")


class DetectorHealthOutput(serializers.Serializer[Any]):
    """The detector that workers have in memory."""

    loaded = serializers.BooleanField(help_text="Whether a worker that lives has loaded it.")
    name = serializers.CharField(help_text="Its name; empty when none is loaded.")
    version = serializers.CharField(help_text="Its version; empty when none is loaded.")


class HealthOutput(serializers.Serializer[Any]):
    """The site and its parts. Who runs it, and where, is not told."""

    fit = serializers.BooleanField(help_text="Whether new work can be taken and will be done.")
    web = WebHealthOutput()
    database = DatabaseHealthOutput()
    queue = QueueHealthOutput(allow_null=True, help_text="Null when the database did not answer.")
    workers = WorkersHealthOutput()
    detector = DetectorHealthOutput()


def describe_health(state: Health) -> dict[str, Any]:
    """What the API says about the state of the site."""
    workers, seconds = state.workers, state.database_seconds
    return {
        "fit": state.fit,
        "web": {"ok": True, "version": __version__},
        "database": {"ok": seconds is not None, "milliseconds": None if seconds is None else round(1000 * seconds, 1)},
        "queue": state.queue,
        "workers": {
            "ok": state.fit,
            "alive": workers.alive if workers else 0,
            "last_seen_at": workers.last_seen if workers else None,
        },
        "detector": {
            "loaded": bool(workers and workers.detector),
            "name": workers.detector if workers else "",
            "version": workers.detector_version if workers else "",
        },
    }


class ReadyOutput(serializers.Serializer[Any]):
    """What one web process reaches."""

    ready = serializers.BooleanField(help_text="Whether it should be sent requests.")
    database = serializers.BooleanField(help_text="Whether its database answers.")
    queue = serializers.BooleanField(help_text="Whether the queue answers; without it, files wait for a little longer.")
    storage = serializers.BooleanField(help_text="Whether the storage of media answers.")
    draining = serializers.BooleanField(help_text="Whether it is being taken out of service.")


class LiveOutput(serializers.Serializer[Any]):
    """A sign of life."""

    alive = serializers.BooleanField(help_text="Always true.")
