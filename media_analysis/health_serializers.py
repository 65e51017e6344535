"""What /api/v1/health/, ready/ and live/ give."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.times import UtcField
from media_analysis.health import Health
from ml import __version__


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
