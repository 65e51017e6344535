from django.conf import settings
from django.db import migrations, models
import django.db.models.deletion
import django.utils.timezone


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("media_analysis", "0013_kept_for_a_time"),
    ]

    operations = [
        migrations.AddField(
            model_name="analysis",
            name="priority",
            field=models.PositiveSmallIntegerField(
                choices=[(0, "somebody waits for it"), (1, "one of many"), (2, "examined again")],
                default=0,
                verbose_name="priority",
            ),
        ),
        migrations.AddField(
            model_name="analysis",
            name="lane",
            field=models.CharField(blank=True, default="default", max_length=32, verbose_name="lane"),
        ),
        migrations.AddField(
            model_name="analysis",
            name="wanted_detector",
            field=models.CharField(blank=True, default="", max_length=64, verbose_name="detector asked for"),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="analysis",
            name="requester",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="asked for by",
            ),
        ),
        migrations.AddField(
            model_name="analysis",
            name="turn",
            field=models.BigIntegerField(default=0, editable=False, verbose_name="turn"),
        ),
        migrations.AddField(
            model_name="analysis",
            name="queued_at",
            field=models.DateTimeField(default=django.utils.timezone.now, verbose_name="waiting since"),
        ),
        migrations.AddField(
            model_name="workerstate",
            name="lanes",
            field=models.JSONField(blank=True, default=list, verbose_name="lanes"),
        ),
        migrations.AddField(
            model_name="workerstate",
            name="draining",
            field=models.BooleanField(default=False, verbose_name="ending"),
        ),
        migrations.RemoveField(model_name="analysis", name="enqueued_at"),
        migrations.AddIndex(
            model_name="analysis",
            index=models.Index(
                fields=["status", "lane", "wanted_detector", "priority", "turn", "queued_at"], name="analysis_next"
            ),
        ),
        migrations.AddIndex(
            model_name="analysis",
            index=models.Index(fields=["status", "lane", "wanted_detector", "queued_at"], name="analysis_oldest"),
        ),
        migrations.AddIndex(
            model_name="analysis",
            index=models.Index(fields=["requester", "lane", "priority", "turn"], name="analysis_share"),
        ),
        migrations.AddIndex(
            model_name="analysis",
            index=models.Index(fields=["status", "lane", "finished_at"], name="analysis_finished"),
        ),
    ]
