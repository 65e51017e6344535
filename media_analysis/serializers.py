from __future__ import annotations

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.serializers import ErrorOutput as ErrorOutput
from media_analysis.feedback import MAX_COMMENT_LENGTH
from media_analysis.model_cards import ModelFacts
from media_analysis.models import Analysis, Feedback, Media
from media_analysis.selectors import queue_position
from media_analysis.wording import reason_text, verdict_text


class UploadInput(serializers.Serializer[None]):
    file = serializers.FileField(help_text="The video or photo, judged by its content.")


class MediaOutput(serializers.ModelSerializer[Media]):
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


class ProgressOutput(serializers.ModelSerializer[Analysis]):
    """The little that a waiting page asks for again and again."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    stage_text = serializers.CharField(source="get_stage_display", help_text="The stage in words.")
    queue_position = serializers.SerializerMethodField(help_text="How many analyses are before this one.")
    finished = serializers.BooleanField(source="is_finished", help_text="Whether the status will not change any more.")

    class Meta:
        model = Analysis
        fields = ("id", "status", "stage", "stage_text", "progress", "queue_position", "finished")

    def get_queue_position(self, analysis: Analysis) -> int:
        return queue_position(analysis)


class AnalysisSummaryOutput(serializers.ModelSerializer[Analysis]):
    """An analysis without its faces."""

    id = serializers.CharField(source="public_id", help_text="24 hexadecimal characters.")
    media = MediaOutput()
    verdict = serializers.SerializerMethodField(help_text="The verdict in plain words.")
    reason_text = serializers.SerializerMethodField(help_text="The reason in plain words.")
    real_to_fake_ratio = serializers.FloatField(
        allow_null=True, help_text="Frames called real ÷ frames called fake; null when none is called fake."
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

    def get_verdict(self, analysis: Analysis) -> str:
        return verdict_text(analysis)

    def get_reason_text(self, analysis: Analysis) -> str:
        return reason_text(analysis)


class AnalysisOutput(AnalysisSummaryOutput):
    """An analysis with everything found."""

    result = serializers.SerializerMethodField(
        help_text="Tracks with a score for each face, the frames looked at, timestamps and settings; null until done."
    )

    error_rates = serializers.SerializerMethodField(
        help_text="How often the detector erred on files of the same kind whose truth is known: counts and shares with "
        "95 % intervals; `measured` is false, with a reason, where that was not measured. Null without a score."
    )

    class Meta(AnalysisSummaryOutput.Meta):
        fields: tuple[str, ...] = (*AnalysisSummaryOutput.Meta.fields, "result", "error_rates")

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
    def get_error_rates(self, analysis: Analysis) -> object:
        return (analysis.result or {}).get("error_rates")

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
    def get_result(self, analysis: Analysis) -> object:
        return analysis.result


class FeedbackInput(serializers.Serializer[None]):
    opinion = serializers.ChoiceField(choices=Feedback.Opinion.choices, help_text="Whether the result is right.")
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=MAX_COMMENT_LENGTH)
    consent = serializers.BooleanField(
        default=False,
        help_text="Whether the file may be used to improve the detector. Ask for it in words of your own user, never "
        "ticked beforehand; false, or leaving it out, withdraws what was given before.",
    )


class FeedbackOutput(serializers.ModelSerializer[Feedback]):
    consent = serializers.SerializerMethodField(help_text="Whether the file may be used to improve the detector.")
    consent_at = serializers.DateTimeField(allow_null=True, help_text="Since when; null without consent.")
    exported_at = serializers.DateTimeField(
        allow_null=True, help_text="When a copy was handed over for training; null if that has not happened."
    )

    class Meta:
        model = Feedback
        fields = ("opinion", "comment", "consent", "consent_at", "exported_at", "created_at", "updated_at")

    def get_consent(self, feedback: Feedback) -> bool:
        return feedback.consent_at is not None


class ThresholdsOutput(serializers.Serializer[None]):
    fake = serializers.FloatField(help_text="A person at or above it is called fake.")
    real = serializers.FloatField(help_text="At or below it real; between the two neither.")
    frame = serializers.FloatField(help_text="A single frame above it is called fake.")


class WeightsOutput(serializers.Serializer[None]):
    name = serializers.CharField()
    sha256 = serializers.CharField(help_text="Empty until it is known.")
    size = serializers.IntegerField(allow_null=True, help_text="In bytes; null where the file is not here.")


class IntervalOutput(serializers.Serializer[None]):
    value = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()


class FigureRowOutput(serializers.Serializer[None]):
    group = serializers.CharField(help_text="Group of test files.")
    method = serializers.CharField(help_text="How the fakes were made; empty for all together.")
    fakes = serializers.IntegerField()
    reals = serializers.IntegerField()
    figures = serializers.DictField(
        child=IntervalOutput(), help_text="auc, equal_error_rate and others, each with its 95 % interval."
    )


class EvaluationOutput(serializers.Serializer[None]):
    measured_on = serializers.DateField()
    files = serializers.IntegerField()
    rows = FigureRowOutput(many=True)


class ModelOutput(serializers.Serializer[Any]):
    """A detector of this site."""

    name = serializers.CharField(source="spec.name")
    version = serializers.CharField(source="spec.version")
    title = serializers.CharField(source="spec.title")
    licence = serializers.CharField(source="spec.licence")
    architecture = serializers.CharField(source="spec.architecture")
    outputs = serializers.ListField(child=serializers.CharField(), source="spec.outputs")
    input_size = serializers.IntegerField(
        source="spec.preprocessing.input_size", help_text="Side of the square that a face is scaled to, in pixels."
    )
    thresholds = ThresholdsOutput(source="spec.thresholds")
    weights = WeightsOutput(many=True)
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
