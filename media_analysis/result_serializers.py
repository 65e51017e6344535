"""What /api/v1/ gives of a result: everything that the detector found, and the pictures that go with it."""

from __future__ import annotations

import re
from typing import Any

from django.urls import reverse
from rest_framework import serializers

from media_analysis.models import Analysis, Media
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

PICTURE_KINDS = ["frame", "sample", "crop", "heat", "labelled"]
PICTURE_NAME = re.compile(r"(?P<kind>crop|heat|frame|sample|labelled)(?:-(?P<first>\d+))?(?:-(?P<second>\d+))?\.jpg")


def _choices(kind: Any) -> list[str]:
    return [str(value) for value in kind]


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
        help_text="Whether they say that a machine made the picture or part of it: the signer's word only if intact."
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
