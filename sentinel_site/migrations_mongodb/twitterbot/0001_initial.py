
import accounts.ids
import django.db.models.deletion
import django.utils.timezone
import django_mongodb_backend.fields
import twitterbot.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('media_analysis', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='BotState',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(default='bot', editable=False, max_length=8, unique=True)),
                ('paused', models.BooleanField(default=False, help_text='Reads and sends nothing. Nothing is lost: it goes on from there.', verbose_name='paused')),
                ('since_id', models.BigIntegerField(blank=True, editable=False, null=True, verbose_name='newest mention read')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='first start')),
                ('polled_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='mentions last read')),
                ('seen_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='last sign of life')),
                ('read_after', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='reads again after')),
                ('reply_after', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='replies again after')),
                ('message_after', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='sends messages again after')),
                ('failures', models.PositiveIntegerField(default=0, editable=False, verbose_name='reads failed in a row')),
                ('last_error', models.CharField(blank=True, editable=False, max_length=64, verbose_name='last error')),
            ],
            options={
                'verbose_name': 'state of the bot',
                'verbose_name_plural': 'state of the bot',
            },
        ),
        migrations.CreateModel(
            name='MonthlyUse',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('month', models.CharField(max_length=7, unique=True, verbose_name='month')),
                ('reads', models.PositiveIntegerField(default=0, verbose_name='read')),
                ('posts', models.PositiveIntegerField(default=0, verbose_name='sent')),
                ('requests', models.PositiveIntegerField(default=0, verbose_name='requests')),
            ],
            options={
                'verbose_name': 'use in a month',
                'verbose_name_plural': 'use by month',
                'ordering': ['-month'],
            },
        ),
        migrations.CreateModel(
            name='XAccount',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('twitter_id', models.BigIntegerField(unique=True, verbose_name='id on X')),
                ('handle', models.CharField(blank=True, max_length=50, verbose_name='name on X')),
                ('opted_out_at', models.DateTimeField(blank=True, null=True, verbose_name='wants no answers since')),
                ('blocked', models.BooleanField(default=False, help_text='Gets no answers, and is not told why.', verbose_name='blocked')),
                ('code_digest', models.CharField(blank=True, editable=False, max_length=64, verbose_name='digest of the code')),
                ('code_expires_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='code holds until')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='first seen')),
                ('former_user', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='former user')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='x_accounts', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'account on X',
                'verbose_name_plural': 'accounts on X',
                'ordering': ['-created_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='Mention',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('tweet_id', models.BigIntegerField(unique=True, verbose_name='post')),
                ('conversation_id', models.BigIntegerField(verbose_name='conversation')),
                ('language', models.CharField(max_length=10, verbose_name='language')),
                ('posted_at', models.DateTimeField(verbose_name='posted')),
                ('command', models.CharField(blank=True, choices=[('stop', 'wants no more answers'), ('start', 'wants answers again'), ('link', 'wants a code')], max_length=8, verbose_name='word of command')),
                ('media_url', models.CharField(blank=True, max_length=1000, verbose_name='address of the media')),
                ('claims', models.JSONField(blank=True, default=dict, verbose_name='what X says of it')),
                ('bystanders', models.JSONField(blank=True, default=list, verbose_name='others in the conversation')),
                ('problem', models.CharField(blank=True, max_length=32, verbose_name='reason')),
                ('status', models.CharField(choices=[('new', 'new'), ('examining', 'being examined'), ('answered', 'answered'), ('refused', 'refused'), ('ignored', 'not answered')], default='new', max_length=12, verbose_name='status')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='read')),
                ('analysis', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='mentions', to='media_analysis.analysis', verbose_name='analysis')),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='mentions', to='twitterbot.xaccount', verbose_name='account on X')),
            ],
            options={
                'verbose_name': 'mention',
                'verbose_name_plural': 'mentions',
                'ordering': ['-tweet_id'],
            },
        ),
        migrations.CreateModel(
            name='LinkAttempt',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='time')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'wrong code',
                'verbose_name_plural': 'wrong codes',
                'ordering': ['-created_at'],
                'indexes': [models.Index(fields=['user', 'created_at'], name='link_attempts_of_user')],
            },
        ),
        migrations.CreateModel(
            name='Reply',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', accounts.ids.PublicIdField(verbose_name='public id')),
                ('kind', models.CharField(choices=[('reply', 'reply'), ('direct', 'direct message')], max_length=8, verbose_name='kind')),
                ('reference', models.CharField(default=twitterbot.models.new_reference, editable=False, max_length=8, verbose_name='reference')),
                ('text', models.TextField(verbose_name='text')),
                ('secret', models.BooleanField(default=False, verbose_name='secret')),
                ('status', models.CharField(choices=[('waiting', 'waiting'), ('sending', 'being sent'), ('sent', 'sent'), ('failed', 'failed'), ('dropped', 'not wanted any more')], default='waiting', max_length=8, verbose_name='status')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='tries')),
                ('next_try_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='next try')),
                ('claim_token', models.CharField(blank=True, editable=False, max_length=24, verbose_name='claim')),
                ('claimed_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='claimed')),
                ('handed_over_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='handed over')),
                ('sent_id', models.BigIntegerField(blank=True, null=True, verbose_name='id on X')),
                ('sent_at', models.DateTimeField(blank=True, null=True, verbose_name='sent')),
                ('error', models.CharField(blank=True, max_length=32, verbose_name='error')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='written')),
                ('mention', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='replies', to='twitterbot.mention', verbose_name='mention')),
            ],
            options={
                'verbose_name': 'answer',
                'verbose_name_plural': 'answers',
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['status', 'next_try_at'], name='answers_due'), models.Index(fields=['kind', 'sent_at'], name='answers_by_time')],
                'constraints': [models.UniqueConstraint(fields=('mention', 'kind'), name='one_answer_of_a_kind_per_mention')],
            },
        ),
        migrations.AddIndex(
            model_name='xaccount',
            index=models.Index(fields=['code_digest'], name='x_account_by_code'),
        ),
        migrations.AddIndex(
            model_name='mention',
            index=models.Index(fields=['status', 'tweet_id'], name='mentions_to_handle'),
        ),
        migrations.AddIndex(
            model_name='mention',
            index=models.Index(fields=['account', 'created_at'], name='mentions_of_account'),
        ),
    ]
