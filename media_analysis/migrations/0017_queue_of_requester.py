from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("media_analysis", "0016_media_to_delete")]

    operations = [
        migrations.AddIndex(
            model_name="analysis", index=models.Index(fields=["requester", "status"], name="analysis_of_requester")
        ),
    ]
