from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("media_analysis", "0006_media_to_delete")]

    operations = [
        migrations.AddField(
            model_name="linksource",
            name="turn",
            field=models.CharField(
                blank=True, default=None, editable=False, max_length=64, null=True, unique=True, verbose_name="turn"
            ),
        ),
    ]
