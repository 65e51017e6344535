from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import pre_delete
from django.utils.translation import gettext_lazy as _


class TwitterBotConfig(AppConfig):
    name = "twitterbot"
    verbose_name = _("Bot on X (Twitter)")

    def ready(self) -> None:
        # Models exist only from here on.
        from twitterbot import checks, people  # noqa: F401 -- checks register themselves

        def on_user_deleted(sender: object, *, instance: Any, **kwargs: Any) -> None:
            people.forget_user(instance)

        # The accounts below know nothing of this app, and what it knows of somebody goes with their account.
        pre_delete.connect(
            on_user_deleted, sender=settings.AUTH_USER_MODEL, weak=False, dispatch_uid="twitterbot.people"
        )
