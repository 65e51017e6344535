import accounts.ids
import django.utils.timezone
from django.db import migrations, models


def note_reports(apps, schema_editor):
    """Reports that were handed out before there was this list were issued here too."""
    report = apps.get_model("reports", "Report")
    issued = apps.get_model("reports", "IssuedDocument")
    for public_id, sha256, created_at in report.objects.values_list("public_id", "sha256", "created_at").iterator():
        issued.objects.get_or_create(
            sha256=sha256, defaults={"public_id": public_id, "kind": "report", "issued_at": created_at}
        )


class Migration(migrations.Migration):

    dependencies = [
        ("reports", "0002_custody_log_printed"),
    ]

    operations = [
        migrations.CreateModel(
            name="IssuedDocument",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", accounts.ids.PublicIdField(verbose_name="public id")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("report", "report"),
                            ("package", "evidence package"),
                            ("certificate", "certificate"),
                        ],
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                ("sha256", models.CharField(max_length=64, unique=True, verbose_name="SHA-256")),
                ("issued_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="made")),
            ],
            options={
                "verbose_name": "issued document",
                "verbose_name_plural": "issued documents",
                "ordering": ["-issued_at", "-id"],
            },
        ),
        migrations.AddField(
            model_name="report",
            name="timestamp",
            field=models.CharField(
                blank=True,
                choices=[("none", "none wanted"), ("made", "made"), ("failed", "failed")],
                max_length=8,
                verbose_name="time stamp",
            ),
        ),
        migrations.RunPython(note_reports, migrations.RunPython.noop),
    ]
