from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('media_analysis', '0012_correlation'),
    ]

    operations = [
        migrations.AlterField(
            model_name='notification',
            name='kind',
            field=models.CharField(choices=[('done', 'examined'), ('failed', 'failed'), ('expiring', 'will be deleted')], max_length=8, verbose_name='kind'),
        ),
    ]
