
import accounts.ids
import django.db.models.deletion
import django.utils.timezone
import django_mongodb_backend.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('media_analysis', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='IssuedDocument',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('kind', models.CharField(choices=[('report', 'report'), ('package', 'evidence package'), ('certificate', 'certificate')], max_length=16, verbose_name='kind')),
                ('sha256', models.CharField(max_length=64, unique=True, verbose_name='SHA-256')),
                ('issued_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='made')),
            ],
            options={
                'verbose_name': 'issued document',
                'verbose_name_plural': 'issued documents',
                'ordering': ['-issued_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='Report',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('language', models.CharField(max_length=10, verbose_name='language')),
                ('version', models.PositiveSmallIntegerField(verbose_name='version of the form')),
                ('engine', models.CharField(max_length=16, verbose_name='made with')),
                ('file', models.CharField(max_length=255, verbose_name='file')),
                ('sha256', models.CharField(db_index=True, max_length=64, verbose_name='SHA-256')),
                ('size', models.PositiveIntegerField(verbose_name='size in bytes')),
                ('timestamp', models.CharField(blank=True, choices=[('none', 'none wanted'), ('made', 'made'), ('failed', 'failed')], max_length=8, verbose_name='time stamp')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='made')),
                ('custody_events', models.PositiveIntegerField(default=0, verbose_name='events of the custody log')),
                ('custody_digest', models.CharField(blank=True, max_length=64, verbose_name='last digest of the custody log')),
                ('analysis', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reports', to='media_analysis.analysis', verbose_name='analysis')),
            ],
            options={
                'verbose_name': 'report',
                'verbose_name_plural': 'reports',
                'ordering': ['-created_at', '-id'],
                'constraints': [models.UniqueConstraint(fields=('analysis', 'language', 'version'), name='one_report_each')],
            },
        ),
    ]
