"""People at the staff console's desks, as tests need them."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests import factories


def person(*roles: str, **fields: Any) -> User:
    """A member of staff with these roles."""
    made = factories.user(is_staff=True, **fields)
    made.groups.set(Group.objects.filter(name__in=roles))
    assert made.groups.count() == len(roles)
    return made


def at_desk(who: User) -> Client:
    """A browser that this person is signed in with."""
    client = Client()
    client.force_login(who, backend="django.contrib.auth.backends.ModelBackend")
    return client


def desk(*roles: str) -> Client:
    """A browser of somebody with these roles."""
    return at_desk(person(*roles))


def page_of(row: Any) -> str:
    """The row's page."""
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def action_of(row: Any, action: str) -> str:
    """The form of an action on the row."""
    return page_of(row).removesuffix("change/") + f"{action}/"


def lists() -> list[str]:
    """The names of all desks' lists."""
    return [f"{one._meta.app_label}_{one._meta.model_name}" for one in admin.site._registry]


def token_of(answer: Any) -> str:
    """What names this opening of a form."""
    found = re.search(r'name="token" value="([0-9a-f]{32})"', answer.content.decode())
    assert found, "the form carries no token"
    return found[1]


def act(client: Client, path: str, **fields: Any) -> Any:
    """Open an action's form, fill it in and send it; the token is the form's unless given."""
    fields.setdefault("token", token_of(client.get(path)))
    return client.post(path, {"reason": "asked by the customer", **fields})
