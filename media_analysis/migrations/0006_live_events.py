from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("media_analysis", "0005_timestamps"),
    ]

    operations = [
        migrations.CreateModel(
            name="LiveEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stream", models.CharField(max_length=24, verbose_name="claim of the try")),
                ("number", models.PositiveIntegerField(verbose_name="number")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("media", "file read"),
                            ("frame", "frame searched"),
                            ("face", "face judged"),
                            ("person", "person found"),
                            ("concluded", "concluded"),
                        ],
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                ("payload", models.JSONField(verbose_name="content")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="written")),
                (
                    "analysis",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="live_events",
                        to="media_analysis.analysis",
                        verbose_name="analysis",
                    ),
                ),
            ],
            options={
                "verbose_name": "live event",
                "verbose_name_plural": "live events",
                "ordering": ["id"],
                "indexes": [models.Index(fields=["created_at"], name="live_event_age")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("analysis", "stream", "number"), name="one_live_event_per_number"
                    )
                ],
            },
        ),
    ]
