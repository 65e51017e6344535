from django.db import IntegrityError, migrations

from accounts.names import exact_key_of, key_of


def fill(apps, schema_editor):
    """Where two names look alike, the older account gets the key; the other is found as it is written. Killed, it is
    done by calling it again."""
    users = apps.get_model("accounts", "User").objects.using(schema_editor.connection.alias)
    for pk, name in list(users.filter(username_key__isnull=True).order_by("pk").values_list("pk", "username")):
        try:
            users.filter(pk=pk).update(username_key=key_of(name))
        except IntegrityError:
            users.filter(pk=pk).update(username_key=exact_key_of(name))


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_user_names'),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
