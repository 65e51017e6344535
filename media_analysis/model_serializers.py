"""What /api/v1/models/ gives: the detectors of this site."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from media_analysis.model_cards import ModelFacts


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
