"""What the tests of pages share: someone who is signed in, and a count of queries."""

from __future__ import annotations

import time
from typing import Any

from django.test import Client

from accounts.models import Account, Membership, User
from tests import factories


def signed_in(account: Account | None = None, *, role: str = "", fresh: bool = True) -> tuple[Client, User, Account]:
    """A client of the account's owner, or of a new member with this role; signed in just now unless not `fresh`."""
    if account is None:
        account = factories.account()
    if role:
        user = factories.user()
        Membership.objects.create(user=user, account=account, role=role, created_at=factories.NOON)
    else:
        user = account.memberships.get(role="owner").user
    client = Client()
    client.force_login(user)
    if fresh:
        session = client.session
        session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
        session["account_authentication_methods_user"] = str(user.pk)
        session.save()
    return client, user, account


def text_of(response: Any) -> str:
    """The body, with white space as a reader sees it."""
    return " ".join(response.content.decode().split())


def stream_of(response: Any) -> str:
    """All of a streamed body."""
    return b"".join(response.streaming_content).decode("utf-8-sig")
