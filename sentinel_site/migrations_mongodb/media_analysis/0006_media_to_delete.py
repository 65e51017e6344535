
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('media_analysis', '0005_queue_of_requester'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name='media',
            index=models.Index(fields=['deleted_at'], name='media_to_delete'),
        ),
    ]
