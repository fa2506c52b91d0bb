"""The billing mode of each conversation of a first-party app: chosen at any time, for the next call on (F084).

Conversations share the account's one pool of Flows. Where nobody chose, Flows pay: every account has a plan, at least
Free, and so no money is spent on a conversation before somebody said that it may be.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from django.utils.translation import gettext_lazy as _

from billing.errors import InvalidRequest
from subscriptions.models import Conversation

Mode = Conversation.Mode
DEFAULT: Final = str(Mode.SUBSCRIPTION)
LONGEST: Final = 200


def checked_name(value: object) -> str:
    """A conversation's name: 1 to 200 characters, none of them a control character. Raises `invalid_request`."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(_("%(field)s must be a text."), field="conversation")
    if len(value) > LONGEST:
        raise InvalidRequest(_("%(field)s is too long."), field="conversation")
    if not value.isprintable():
        raise InvalidRequest(_("%(field)s has a character that cannot be kept."), field="conversation")
    return value


def set_mode(account_id: UUID, name: str, mode: str, *, now: datetime) -> Conversation:
    """What pays from the next call on. Calls that are running stay as they were admitted (C24)."""
    if mode not in Mode.values:
        raise InvalidRequest(_("%(field)s must be subscription or payg."), field="billing_mode")
    Conversation.objects.bulk_create(
        [Conversation(account_id=account_id, external_id=checked_name(name), billing_mode=mode, updated_at=now)],
        update_conflicts=True,
        unique_fields=["account", "external_id"],
        update_fields=["billing_mode", "updated_at"],
    )
    found: Conversation = Conversation.objects.get(account=account_id, external_id=name)
    return found


def chosen(account_id: UUID, name: str) -> Conversation | None:
    """The row of a conversation that somebody chose for."""
    found: Conversation | None = Conversation.objects.filter(account=account_id, external_id=name).first()
    return found


def modes_of(named: Collection[tuple[UUID, str]]) -> dict[tuple[UUID, str], str]:
    """The billing mode of each (account, conversation), in one query; those that nobody chose for by the default."""
    accounts, names = {account for account, _name in named}, {name for _account, name in named}
    rows = Conversation.objects.filter(account__in=accounts, external_id__in=names)
    found = {
        (account, name): mode for account, name, mode in rows.values_list("account", "external_id", "billing_mode")
    }
    return {one: found.get(one, DEFAULT) for one in named}
