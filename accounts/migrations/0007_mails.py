import accounts.ids
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_keys_of_names'),
    ]

    operations = [
        migrations.AlterField(
            model_name='securityevent',
            name='event',
            field=models.CharField(choices=[('logged_in', 'Logged in'), ('logged_in_app', 'Logged in with an app'), ('logged_out', 'Logged out'), ('session_ended', 'Log-in ended from elsewhere'), ('session_timed_out', 'Log-in ran out'), ('wrong_password', 'Wrong password'), ('locked_out', 'Too many wrong passwords'), ('wrong_code', 'Wrong code'), ('code_used_again', 'A code was used again'), ('wrong_passkey', 'Passkey refused'), ('password_changed', 'Password changed'), ('password_reset_asked', 'Link for a new password sent'), ('email_changed', 'E-mail address changed'), ('totp_added', 'Code app set up'), ('totp_removed', 'Code app removed'), ('passkey_added', 'Passkey added'), ('passkey_renamed', 'Passkey renamed'), ('passkey_removed', 'Passkey removed'), ('recovery_codes_made', 'New recovery codes made'), ('recovery_code_used', 'Recovery code used'), ('second_factor_reset', 'Second factor reset by an administrator'), ('admin_looked', 'Looked at in the administration'), ('admin_acted', 'Done in the administration')], max_length=24, verbose_name='event'),
        ),
        migrations.CreateModel(
            name='AccountMail',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('kind', models.CharField(choices=[('security', 'Security'), ('password_reset', 'Password Reset')], max_length=14)),
                ('to', models.EmailField(max_length=254)),
                ('language', models.CharField(blank=True, max_length=10)),
                ('name', models.CharField(blank=True, max_length=150)),
                ('event', models.CharField(blank=True, max_length=24)),
                ('site', models.CharField(blank=True, max_length=300)),
                ('address', models.CharField(blank=True, max_length=45)),
                ('user_agent', models.CharField(blank=True, max_length=300)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('sending', 'Sending')], default='waiting', max_length=7)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('claim_token', models.CharField(blank=True, max_length=24)),
                ('claimed_at', models.DateTimeField(blank=True, null=True)),
                ('handed_over_at', models.DateTimeField(blank=True, null=True)),
                ('next_try_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ['created_at', 'id'],
                'indexes': [models.Index(fields=['status', 'next_try_at'], name='account_mails_due')],
            },
        ),
    ]
