"""Lists need the stretches called fake without everything else found: they get a column of their own."""

from django.db import migrations, models


def fill(apps, schema_editor):
    Analysis = apps.get_model("media_analysis", "Analysis")
    found = Analysis.objects.using(schema_editor.connection.alias).filter(result__isnull=False)
    for pk, result in found.values_list("pk", "result").iterator(chunk_size=100):
        if result and result.get("timestamps"):
            Analysis.objects.using(schema_editor.connection.alias).filter(pk=pk).update(timestamps=result["timestamps"])


class Migration(migrations.Migration):

    dependencies = [
        ("media_analysis", "0004_upload_metadata"),
    ]

    operations = [
        migrations.AddField(
            model_name="analysis",
            name="timestamps",
            field=models.JSONField(blank=True, default=list, verbose_name="stretches called fake, in seconds"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
    ]
