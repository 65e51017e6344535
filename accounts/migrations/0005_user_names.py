import accounts.names
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0004_security'),
    ]

    operations = [
        migrations.AlterModelManagers(
            name='user',
            managers=[
            ],
        ),
        migrations.AddField(
            model_name='user',
            name='username_key',
            field=accounts.names.UsernameKeyField(),
        ),
        migrations.AlterField(
            model_name='user',
            name='username',
            field=models.CharField(error_messages={'unique': 'This user name is taken.'}, help_text='Use letters, digits and . + - _ only.', max_length=150, unique=True, validators=[accounts.names.validate], verbose_name='username'),
        ),
        migrations.AddIndex(
            model_name='user',
            index=models.Index(fields=['username_key'], name='users_by_key_of_name'),
        ),
    ]
