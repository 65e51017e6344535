"""What /api/v1/ takes and gives about files and analyses, every field described: the schema is made from this.

What a query asks for is in `query_serializers`, what a result holds in `result_serializers`.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.ids import PUBLIC_ID_PATTERN
from accounts.times import RowSerializer, UtcField
from media_analysis import health, scheduling
from media_analysis.case_details import case_of
from media_analysis.case_serializers import CaseDetailsInput, CaseOutput
from media_analysis.feedback import MAX_COMMENT_LENGTH
from media_analysis.link_words import link_of
from media_analysis.models import Analysis, DeletionReceipt, Feedback, LinkSource, Media, ResumableUpload
from media_analysis.result_serializers import ErrorRatesOutput, PictureOutput, ResultOutput, describe_picture
from media_analysis.resumable import offset_of
from media_analysis.safe_http import MAX_URL_LENGTH
from media_analysis.wording import reason_text, verdict_text

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
        return analysis.status != Analysis.Status.QUEUED or health.is_served(analysis)


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
