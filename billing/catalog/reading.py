"""A call's usage and fields as the gateway and customers tell them, checked and typed. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from billing.catalog.normalise import normalise
from billing.catalog.usage import Usage, parse_usage
from billing.errors import InvalidRequest, InvalidUsage

_FIELD_NAME = re.compile(r"[0-9A-Za-z_.:\-\[\]]{1,120}")


CANONICAL: Final = "canonical"
"""The format of `usage`, which no convention changes."""


@dataclass(frozen=True, slots=True)
class ToldUsage:
    """Usage as it was told: what only the call's channel can make plain (C17), or what could not be read."""

    format: str
    body: Mapping[str, Any]

    def read(self, convention: str = "") -> Usage:
        """Canonical usage. Raises InvalidUsage."""
        return read_usage(self.format, self.body, convention)


def read_usage(format: str, body: Mapping[str, Any], convention: str = "") -> Usage:
    """Canonical usage out of what was told in this format, counted as the convention says."""
    return parse_usage(body) if format == CANONICAL else normalise(format, body, convention=convention)


def told_usage(body: Mapping[str, Any]) -> Usage | ToldUsage:
    """Canonical usage at once; what waits for its channel, or contradicts itself, as it was told.

    Raises InvalidUsage only for a body that tells no usage at all.
    """
    usage, provider = body.get("usage"), body.get("provider_usage")
    if (usage is None) == (provider is None):
        raise InvalidUsage(_("Send either usage, or provider_usage with its format."), field="usage")
    if usage is not None:
        if not isinstance(usage, dict):
            raise InvalidUsage(_("%(field)s must be an object."), field="usage")
        try:
            return parse_usage(usage)
        except InvalidUsage:
            return ToldUsage(CANONICAL, usage)  # it is refused where the call that it belongs to is known
    if not isinstance(provider, dict):
        raise InvalidUsage(_("%(field)s must be an object."), field="provider_usage")
    return ToldUsage(str(body.get("format", ""))[:40], provider)


def usage_of(body: Mapping[str, Any], convention: str = "") -> Usage:
    """`usage`, or `provider_usage` with `format`, one of them, in canonical form. Raises InvalidUsage."""
    found = told_usage(body)
    return found if isinstance(found, Usage) else found.read(convention)


def fields_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """`fields`: request fields and headers that a price may depend on. Raises InvalidRequest naming the field."""
    found = body.get("fields")
    if found is None:
        return {}
    if not isinstance(found, dict) or len(found) > 64:
        raise InvalidRequest(_("%(field)s must be an object with at most 64 entries."), field="fields")
    for name, value in found.items():
        if not _FIELD_NAME.fullmatch(name):
            raise InvalidRequest(_("%(field)s has a name that cannot be used."), field="fields")
        unkept = isinstance(value, str) and ("\0" in value or len(value) > 200)
        if unkept or not isinstance(value, str | int | bool | float | None):
            raise InvalidRequest(
                _("%(field)s must be a short text, a number or a truth value."), field=f"fields.{name}"
            )
    return found
