from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("media_analysis", "0015_queue_takes_over")]

    operations = [
        migrations.AddIndex(
            model_name="media",
            index=models.Index(fields=["deleted_at"], name="media_to_delete"),
        ),
    ]
