"""Who is who: accounts on X, and the accounts here that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.ids import new_public_id
from accounts.models import User
from accounts.services import close_account
from twitterbot.models import XAccount

if TYPE_CHECKING:
    from twitterbot.client import Author

# Nobody can sign up with a name that has an @ in it, and nobody gets mail there: RFC 2606 keeps "invalid" for that.
USERNAME = "x@{twitter_id}"
EMAIL = "{name}@x.invalid"


def account_of(author: Author) -> XAccount:
    """The row of somebody on X, made at first sight. Their name may change, their id does not."""
    try:
        with transaction.atomic():
            account, _created = XAccount.objects.get_or_create(
                twitter_id=author.id, defaults={"handle": author.handle[:50]}
            )
    except IntegrityError:
        account = XAccount.objects.get(twitter_id=author.id)
    if author.handle and account.handle != author.handle:
        account.handle = author.handle[:50]
        XAccount.objects.filter(pk=account.pk).update(handle=account.handle)
    return account


def user_of(account: XAccount) -> User:
    """The account here of somebody on X; where there is none, one that nobody can log in to.

    Killed between its steps, or done by two at once, it comes to the same account: its name follows from the id.
    """
    if account.user is None:
        made = _made_for(account)
        XAccount.objects.filter(pk=account.pk, user__isnull=True).update(user=made)
        account.refresh_from_db(fields=["user"])
    if account.user is None:
        raise RuntimeError(f"the account of {account} was taken away")
    return account.user


def is_made(user: User) -> bool:
    """Whether the bot made this account, so that nobody has ever logged in to it."""
    return user.username.startswith(USERNAME.format(twitter_id="")) and not user.has_usable_password()


def may_be_answered(account: XAccount) -> bool:
    """Not those who asked to be left alone, nor those whom an administrator shut out."""
    user = account.user
    return not (account.blocked or account.opted_out_at or (user and (user.deleted_at or not user.is_active)))


def opt_out(account: XAccount) -> None:
    XAccount.objects.filter(pk=account.pk, opted_out_at__isnull=True).update(opted_out_at=timezone.now())


def opt_in(account: XAccount) -> None:
    XAccount.objects.filter(pk=account.pk).update(opted_out_at=None)


def forget_user(user: User) -> None:
    """Forget who on X an account belonged to, as it goes. That somebody wants no answers stays, by their id alone."""
    theirs = XAccount.objects.filter(Q(user=user) | Q(former_user=user))
    if is_made(user):
        # Joined to another account meanwhile: what is there belongs to that one.
        theirs = theirs.filter(user=user)
    for account in theirs.select_related("former_user"):
        if account.former_user and account.former_user != user:
            # Its files were on their way to the account that goes.
            close_account(account.former_user)
        account.mentions.all().delete()
        if account.opted_out_at or account.blocked:
            XAccount.objects.filter(pk=account.pk).update(handle="", user=None, code_digest="")
        else:
            account.delete()


def _made_for(account: XAccount) -> User:
    name = USERNAME.format(twitter_id=account.twitter_id)
    if existing := User.objects.filter(username=name).first():
        return existing
    user = User(username=name, email=EMAIL.format(name=new_public_id()))
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError:
        return User.objects.get(username=name)
    return user
