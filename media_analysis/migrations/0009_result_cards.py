import accounts.ids
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('media_analysis', '0009_custody_log_begins'),
    ]

    operations = [
        migrations.CreateModel(
            name='ResultCard',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('published_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='shared since')),
                ('analysis', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='card', to='media_analysis.analysis', verbose_name='analysis')),
            ],
            options={
                'verbose_name': 'public result card',
                'verbose_name_plural': 'public result cards',
                'ordering': ['-published_at', '-id'],
            },
        ),
    ]
