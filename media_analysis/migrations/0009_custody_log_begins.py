"""Files that were received before there was a log get a first event that says so."""

import hashlib
import json
from datetime import UTC

from django.db import migrations, models
from django.utils import timezone

EVENTS = [('begun', 'log begun'), ('received', 'received'), ('hashed', 'hashes computed'), ('analysed', 'examined'), ('failed', 'examination failed'), ('viewed', 'result viewed'), ('downloaded', 'downloaded'), ('shared', 'shared'), ('withdrawn', 'no longer shared'), ('deleted', 'deleted')]


def begin(apps, schema_editor):
    CustodyEvent = apps.get_model('media_analysis', 'CustodyEvent')
    Media = apps.get_model('media_analysis', 'Media')
    DeletionReceipt = apps.get_model('media_analysis', 'DeletionReceipt')
    now = timezone.now()
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    known = set(CustodyEvent.objects.values_list('media_id', flat=True).distinct())
    files = [(public_id, sha256, received, '') for public_id, sha256, received in Media.objects.values_list('public_id', 'sha256', 'created_at').iterator()]
    files += [(public_id, sha256, received, said(deleted)) for public_id, sha256, received, deleted in DeletionReceipt.objects.values_list('media_public_id', 'sha256', 'received_at', 'deleted_at').iterator()]
    made = {}
    for public_id, sha256, received, deleted in files:
        if public_id in known:
            continue
        details = {'sha256': sha256, 'received': said(received)}
        if deleted:
            details['deleted'] = deleted
        # As media_analysis.custody.digest_of has it.
        fields = {'media': public_id, 'number': 0, 'event': 'begun', 'at': said(now), 'actor': '', 'address': '', 'details': details, 'previous': ''}
        text = json.dumps(fields, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
        made[public_id] = CustodyEvent(media_id=public_id, number=0, event='begun', at=now, details=details, digest=hashlib.sha256(text.encode()).hexdigest())
    CustodyEvent.objects.bulk_create(made.values(), batch_size=500)


def said(moment):
    return moment.astimezone(UTC).isoformat(timespec='milliseconds')


class Migration(migrations.Migration):

    dependencies = [
        ('media_analysis', '0008_custody_log'),
    ]

    operations = [
        migrations.AlterField(
            model_name='custodyevent',
            name='event',
            field=models.CharField(choices=EVENTS, max_length=16, verbose_name='event'),
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
