from __future__ import annotations

from typing import Any

from django import template

from media_analysis import notifications

register = template.Library()


@register.simple_tag(takes_context=True)
def bell(context: Any) -> dict[str, Any] | None:
    """What the visitor has not read, when they were told last, and how many analyses are under way; None for nobody."""
    user = context.get("user")
    if user is None or not user.is_authenticated:
        return None
    newest = notifications.notifications_of(user).first()
    return {
        "unread": notifications.unread_of(user).count(),
        "under_way": notifications.under_way(user),
        "newest_at": newest.created_at if newest else None,
    }


@register.filter
def told(notification: Any) -> str:
    """What there is to say of it."""
    return notifications.notification_text(notification)
