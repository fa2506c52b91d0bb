"""Refund terms where customers read them before they pay: always the row in force, never a figure in a page."""

from __future__ import annotations

from datetime import datetime

from django import template

from refunds import models_policy
from refunds.policy_words import Promise
from refunds.policy_words import minutes as in_minutes

register = template.Library()


@register.simple_tag
def refund_terms(now: datetime) -> Promise:
    """The terms that a payment of this moment has."""
    return Promise(models_policy.in_force(now))


@register.filter
def minutes(number: int) -> str:
    """`15 minutes`."""
    return in_minutes(int(number))
