from __future__ import annotations

from django.apps import AppConfig


class MongoDBConfig(AppConfig):
    """Installed, before all others, where DATABASE_URL names MongoDB."""

    name = "sentinel_site.mongodb"

    def import_models(self) -> None:
        # The models of all other apps come after.
        from sentinel_site.mongodb import keys

        keys.use_object_ids()
        super().import_models()
