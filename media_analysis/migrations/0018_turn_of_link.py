from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("media_analysis", "0017_queue_of_requester")]

    operations = [
        migrations.AddField(
            model_name="linksource",
            name="turn",
            field=models.CharField(
                blank=True, default=None, editable=False, max_length=64, null=True, unique=True, verbose_name="turn"
            ),
        ),
    ]
