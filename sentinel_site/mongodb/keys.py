"""Primary keys on MongoDB: ObjectIds, in every model of every installed app."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import AutoField, Model
from django.db.models.signals import class_prepared
from django_mongodb_backend import fields
from django_mongodb_backend.fields.objectid import ObjectIdMixin


class ObjectIdAutoField(fields.ObjectIdAutoField):
    """To migrations, the backend's own."""

    def get_prep_value(self, value: Any) -> Any:
        """Raises ValueError for what is no key."""
        try:
            return super().get_prep_value(value)
        except ValidationError as error:
            raise ValueError(f"{self.name} expected a key but got {value!r}") from error

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django_mongodb_backend.fields.ObjectIdAutoField", args, kwargs


def use_object_ids() -> None:
    """From now on each model that is made gets an ObjectId for an automatic key.

    DEFAULT_AUTO_FIELD alone reaches neither the apps whose configuration names a field of its own nor the models that
    spell their key out, of which MongoDB, having no sequences, could store none.
    """
    class_prepared.connect(_change_key, dispatch_uid="sentinel_site.mongodb.keys")


def _change_key(sender: type[Model], **kwargs: Any) -> None:
    """Before anything refers to the new class."""
    options = sender._meta
    key = options.pk
    # Every automatic field counts as an instance of each other's class, but not of the mixin's.
    if not isinstance(key, AutoField) or isinstance(key, ObjectIdMixin):
        return
    if key not in options.local_fields:
        return  # Of a parent, which has changed already.
    options.local_fields.remove(key)
    options.pk = options.auto_field = None
    options._expire_cache()  # type: ignore[attr-defined]
    changed = ObjectIdAutoField(verbose_name=key.verbose_name, primary_key=True, auto_created=key.auto_created)
    # In its place: the first column.
    changed.creation_counter = key.creation_counter
    sender.add_to_class(key.name, changed)
