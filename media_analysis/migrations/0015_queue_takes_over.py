from django.db import migrations, models


def take_over(apps, schema_editor):
    """What waits keeps its age, and what is still fetched is in no lane."""
    analyses = apps.get_model("media_analysis", "Analysis").objects.using(schema_editor.connection.alias)
    waiting = analyses.filter(status="queued")
    waiting.update(queued_at=models.F("created_at"))
    waiting.filter(stage="fetching").update(lane="")


class Migration(migrations.Migration):
    dependencies = [("media_analysis", "0014_queue")]

    operations = [migrations.RunPython(take_over, migrations.RunPython.noop, elidable=True)]
