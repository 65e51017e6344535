
import accounts.ids
import django.contrib.auth.models
import django.contrib.auth.validators
import django.db.models.deletion
import django.utils.timezone
import django_mongodb_backend.fields
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('email', models.EmailField(max_length=254, unique=True, verbose_name='e-mail address')),
                ('daily_limit', models.PositiveSmallIntegerField(blank=True, help_text="Classifications a day; empty for the site's default.", null=True, verbose_name='daily limit')),
                ('language', models.CharField(blank=True, help_text='A language code; empty to follow the browser.', max_length=10, verbose_name='language')),
                ('notify_by_email', models.BooleanField(default=False, help_text='To the address of this account.', verbose_name='e-mail when an examination ends')),
                ('notify_details', models.BooleanField(default=False, help_text='Others may read a message on a locked screen. The result is never in it.', verbose_name='file names in push messages and e-mails')),
                ('deleted_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='deleted')),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
            },
            managers=[
                ('objects', django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name='AppSession',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('device', models.CharField(blank=True, max_length=200, verbose_name='device')),
                ('address', models.CharField(blank=True, max_length=45, verbose_name='network address')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='logged in')),
                ('last_used_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='last used')),
                ('ended_at', models.DateTimeField(blank=True, null=True, verbose_name='ended')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='app_sessions', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'app session',
                'verbose_name_plural': 'app sessions',
                'ordering': ['-last_used_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='Passkey',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('name', models.CharField(max_length=60, verbose_name='name')),
                ('credential_id', models.TextField(editable=False, verbose_name='credential id')),
                ('credential_digest', models.CharField(editable=False, max_length=64, unique=True, verbose_name='SHA-256 of the credential id')),
                ('public_key', models.TextField(editable=False, verbose_name='public key')),
                ('sign_count', models.PositiveBigIntegerField(default=0, verbose_name='signatures so far')),
                ('backed_up', models.BooleanField(default=False, verbose_name='kept in a cloud')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='added')),
                ('last_used_at', models.DateTimeField(blank=True, null=True, verbose_name='last used')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='passkeys', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'passkey',
                'verbose_name_plural': 'passkeys',
                'ordering': ['created_at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='SecondFactor',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('secret', models.TextField(blank=True, editable=False, verbose_name='secret')),
                ('pending_secret', models.TextField(blank=True, editable=False, verbose_name='secret that is being set up')),
                ('confirmed_at', models.DateTimeField(blank=True, null=True, verbose_name='set up')),
                ('last_step', models.BigIntegerField(default=-1, verbose_name='step of the last code')),
                ('last_used_at', models.DateTimeField(blank=True, null=True, verbose_name='last used')),
                ('failures', models.PositiveIntegerField(default=0, verbose_name='wrong codes in a row')),
                ('failed_at', models.DateTimeField(blank=True, null=True, verbose_name='last wrong code')),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='second_factor', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'second factor',
                'verbose_name_plural': 'second factors',
            },
        ),
        migrations.CreateModel(
            name='WebSession',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('user_agent', models.CharField(blank=True, max_length=300, verbose_name='browser')),
                ('address', models.CharField(blank=True, max_length=45, verbose_name='network address')),
                ('factor', models.CharField(blank=True, choices=[('totp', 'Code from an app'), ('recovery', 'Recovery code'), ('passkey', 'Passkey')], max_length=10, verbose_name='second factor')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='logged in')),
                ('last_used_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='last used')),
                ('ended_at', models.DateTimeField(blank=True, null=True, verbose_name='ended')),
                ('end_reason', models.CharField(blank=True, choices=[('logged_out', 'Logged out'), ('ended', 'Ended from elsewhere'), ('idle', 'Not used for a long time'), ('old', 'Open for too long'), ('password', 'The password was changed'), ('closed', 'The account was closed')], max_length=10, verbose_name='why it ended')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='web_sessions', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'web session',
                'verbose_name_plural': 'web sessions',
                'ordering': ['-last_used_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='PushDevice',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('name', models.CharField(blank=True, max_length=200, verbose_name='name')),
                ('endpoint', models.URLField(max_length=500, verbose_name='address of the push service')),
                ('p256dh', models.CharField(max_length=100, verbose_name='public key of the device')),
                ('auth', models.CharField(max_length=30, verbose_name='shared secret')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='registered')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='push_devices', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'push device',
                'verbose_name_plural': 'push devices',
                'ordering': ['-created_at', '-id'],
                'constraints': [models.UniqueConstraint(fields=('user', 'endpoint'), name='one_push_device_per_endpoint')],
            },
        ),
        migrations.CreateModel(
            name='RecoveryCode',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64, verbose_name='SHA-256')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='made')),
                ('used_at', models.DateTimeField(blank=True, null=True, verbose_name='used')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='recovery_codes', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'recovery code',
                'verbose_name_plural': 'recovery codes',
                'constraints': [models.UniqueConstraint(fields=('user', 'digest'), name='one_recovery_code_per_digest')],
            },
        ),
        migrations.CreateModel(
            name='SecurityEvent',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event', models.CharField(choices=[('logged_in', 'Logged in'), ('logged_in_app', 'Logged in with an app'), ('logged_out', 'Logged out'), ('session_ended', 'Log-in ended from elsewhere'), ('session_timed_out', 'Log-in ran out'), ('wrong_password', 'Wrong password'), ('locked_out', 'Too many wrong passwords'), ('wrong_code', 'Wrong code'), ('wrong_passkey', 'Passkey refused'), ('password_changed', 'Password changed'), ('password_reset_asked', 'Link for a new password sent'), ('email_changed', 'E-mail address changed'), ('totp_added', 'Code app set up'), ('totp_removed', 'Code app removed'), ('passkey_added', 'Passkey added'), ('passkey_renamed', 'Passkey renamed'), ('passkey_removed', 'Passkey removed'), ('recovery_codes_made', 'New recovery codes made'), ('recovery_code_used', 'Recovery code used'), ('second_factor_reset', 'Second factor reset by an administrator'), ('admin_looked', 'Looked at in the administration'), ('admin_acted', 'Done in the administration')], max_length=24, verbose_name='event')),
                ('actor_name', models.CharField(blank=True, max_length=150, verbose_name='administrator’s name')),
                ('address', models.CharField(blank=True, max_length=45, verbose_name='network address')),
                ('user_agent', models.CharField(blank=True, max_length=300, verbose_name='browser')),
                ('details', models.JSONField(blank=True, default=dict, verbose_name='details')),
                ('at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, verbose_name='time')),
                ('actor', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='administrator')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='security_events', to=settings.AUTH_USER_MODEL, verbose_name='account')),
            ],
            options={
                'verbose_name': 'security event',
                'verbose_name_plural': 'security log',
                'ordering': ['-at', '-id'],
                'indexes': [models.Index(fields=['user', '-at'], name='security_log_of_a_user')],
            },
        ),
        migrations.CreateModel(
            name='UsageEntry',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(verbose_name='day')),
                ('slot', models.PositiveSmallIntegerField(verbose_name='slot')),
                ('reference', models.CharField(max_length=24, unique=True, verbose_name='reference')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='usage', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'usage entry',
                'verbose_name_plural': 'usage entries',
                'constraints': [models.UniqueConstraint(fields=('user', 'day', 'slot'), name='one_use_per_slot')],
            },
        ),
    ]
