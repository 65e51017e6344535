from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("media_analysis", "0004_queue")]

    operations = [
        migrations.AddIndex(
            model_name="analysis", index=models.Index(fields=["requester", "status"], name="analysis_of_requester")
        ),
    ]
