
import django.utils.timezone
import django_mongodb_backend.fields
import django_q.models
import picklefield.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='OrmQ',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text='Name of the target cluster', max_length=100, verbose_name='Cluster key')),
                ('payload', models.TextField(help_text='Signed serialized task package (do not edit manually).', verbose_name='Payload')),
                ('lock', models.DateTimeField(help_text='Prevent any cluster from pulling until', null=True, verbose_name='Lock until')),
            ],
            options={
                'verbose_name': 'Queued task',
                'verbose_name_plural': 'Queued tasks',
            },
        ),
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', django_mongodb_backend.fields.ObjectIdAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(blank=True, help_text='Optional label to identify this schedule in the admin.', max_length=100, null=True, verbose_name='Name')),
                ('func', models.CharField(help_text='e.g. module.tasks.function', max_length=256, verbose_name='Function')),
                ('hook', models.CharField(blank=True, help_text='e.g. module.tasks.result_function', max_length=256, null=True, verbose_name='Hook')),
                ('args', models.TextField(blank=True, help_text="e.g. 1, 2, 'John'", null=True, verbose_name='Arguments')),
                ('kwargs', models.TextField(blank=True, help_text="e.g. x=1, y=2, name='John'", null=True, verbose_name='Keyword arguments')),
                ('schedule_type', models.CharField(choices=[('O', 'Once'), ('I', 'Minutes'), ('H', 'Hourly'), ('D', 'Daily'), ('W', 'Weekly'), ('BW', 'Biweekly'), ('M', 'Monthly'), ('BM', 'Bimonthly'), ('Q', 'Quarterly'), ('Y', 'Yearly'), ('C', 'Cron')], default='O', help_text='How often this task should be enqueued.', max_length=2, verbose_name='Schedule Type')),
                ('minutes', models.PositiveSmallIntegerField(blank=True, help_text='Number of minutes for the Minutes type', null=True, verbose_name='Minutes')),
                ('repeats', models.IntegerField(default=-1, help_text='n = n times, -1 = forever', verbose_name='Repeats')),
                ('next_run', models.DateTimeField(default=django.utils.timezone.now, help_text='When this schedule runs next (stored in UTC).', null=True, verbose_name='Next Run')),
                ('cron', models.CharField(blank=True, help_text='Cron expression', max_length=100, null=True, validators=[django_q.models.validate_cron], verbose_name='Cron')),
                ('task', models.CharField(editable=False, help_text='Id of the last task spawned from this schedule (read-only).', max_length=100, null=True, verbose_name='Last task id')),
                ('cluster', models.CharField(blank=True, default=None, help_text='Name of the target cluster', max_length=100, null=True, verbose_name='Cluster')),
                ('intended_date_kwarg', models.CharField(blank=True, help_text='Name of kwarg to pass intended schedule date', max_length=100, null=True, validators=[django_q.models.validate_kwarg], verbose_name='Intended date kwarg')),
            ],
            options={
                'verbose_name': 'Scheduled task',
                'verbose_name_plural': 'Scheduled tasks',
                'ordering': ['next_run'],
            },
        ),
        migrations.CreateModel(
            name='Task',
            fields=[
                ('id', models.CharField(editable=False, help_text='32-character task identifier.', max_length=32, primary_key=True, serialize=False, verbose_name='Task id')),
                ('name', models.CharField(editable=False, help_text='Optional human-readable name for lookup and display.', max_length=100, verbose_name='Name')),
                ('func', models.CharField(help_text='Dotted import path to the callable, e.g. myapp.tasks.job.', max_length=256, verbose_name='Function')),
                ('hook', models.CharField(help_text='Optional dotted path to a callback that receives the task result.', max_length=256, null=True, verbose_name='Hook')),
                ('args', picklefield.fields.PickledObjectField(editable=False, help_text='Pickled positional arguments (tuple).', null=True, protocol=-1, verbose_name='Arguments')),
                ('kwargs', picklefield.fields.PickledObjectField(editable=False, help_text='Pickled keyword arguments (dict).', null=True, protocol=-1, verbose_name='Keyword arguments')),
                ('result', picklefield.fields.PickledObjectField(editable=False, help_text='Pickled return value or error payload.', null=True, protocol=-1, verbose_name='Result')),
                ('group', models.CharField(editable=False, help_text='Optional group id to aggregate related tasks.', max_length=100, null=True, verbose_name='Group')),
                ('cluster', models.CharField(blank=True, default=None, help_text='Name of the cluster that executed this task.', max_length=100, null=True, verbose_name='Cluster')),
                ('started', models.DateTimeField(editable=False, help_text='When the worker started executing the task.', verbose_name='Started at')),
                ('stopped', models.DateTimeField(editable=False, help_text='When the worker finished (success or failure).', verbose_name='Stopped at')),
                ('success', models.BooleanField(default=True, editable=False, help_text='False if the task raised an exception or timed out.', verbose_name='Success')),
                ('attempt_count', models.IntegerField(default=0, help_text='How many times execution was attempted.', verbose_name='Attempt count')),
            ],
            options={
                'verbose_name': 'Task',
                'verbose_name_plural': 'Tasks',
                'ordering': ['-stopped'],
                'indexes': [models.Index(condition=models.Q(('success', True)), fields=['group', 'name', 'func'], name='success_index')],
            },
        ),
        migrations.CreateModel(
            name='Failure',
            fields=[
            ],
            options={
                'verbose_name': 'Failed task',
                'verbose_name_plural': 'Failed tasks',
                'ordering': ['-stopped'],
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('django_q.task',),
        ),
        migrations.CreateModel(
            name='Success',
            fields=[
            ],
            options={
                'verbose_name': 'Successful task',
                'verbose_name_plural': 'Successful tasks',
                'ordering': ['-stopped'],
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('django_q.task',),
        ),
    ]
