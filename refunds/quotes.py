"""A quote for a plan that may be given back: its lines, whether it may be, and a signature that holds for some minutes.

Nothing is written for a quote: what was shown is in the signed text, and comes back with the submission.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.core import signing
from django.utils.translation import gettext_lazy as _

from billing.errors import Conflict, InvalidRequest, NotFound
from refunds import eligibility, facts
from refunds.eligibility import Reason
from refunds.facts import Facts
from refunds.quote_plan import Lines
from subscriptions.models import Subscription

_SIGNER: Final = signing.Signer(salt="refunds.quote")


class RefundQuoteExpired(Conflict):
    """A quote holds for as long as the terms of its payment say."""

    code = "refund_quote_expired"
    title = _("This preview is too old. Look at the present one and submit again.")


@dataclass(frozen=True, slots=True)
class Quote:
    """What a refund would come to now. `token` is empty when it cannot be asked for; `reasons` then say why."""

    facts: Facts
    reasons: tuple[Reason, ...]
    token: str
    expires_at: datetime

    @property
    def lines(self) -> Lines:
        """The lines, in cents."""
        return self.facts.lines

    @property
    def possible(self) -> bool:
        """May be submitted."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Agreed:
    """A quote as it comes back."""

    subscription_id: UUID
    lines: Lines
    at: datetime
    good_for: timedelta


def newest_of(account_id: UUID) -> Subscription:
    """The plan that is in force, else the last one that was. `NotFound`: the account never had one."""
    rows = Subscription.objects.select_related("account", "plan_version__plan").filter(
        account_id=account_id, activated_at__isnull=False
    )
    found: Subscription | None = (
        rows.filter(status__in=Subscription.IN_FORCE).first() or rows.order_by("-activated_at", "-pk").first()
    )
    if found is None:
        raise NotFound(_("This account has no paid plan."))
    return found


def make(account_id: UUID, *, now: datetime) -> Quote:
    """The quote for the account's plan. Changes nothing. `NotFound` without a plan."""
    told = facts.read(newest_of(account_id), now=now)
    reasons = tuple(eligibility.reasons(told))
    return Quote(told, reasons, "" if reasons else _sign(told), now + told.policy.quoting)


def _sign(told: Facts) -> str:
    return _SIGNER.sign_object(
        {
            "subscription": str(told.subscription.pk),
            "lines": told.lines.told(),
            "at": told.now.isoformat(),
            "minutes": told.policy.quote_minutes,
        },
        compress=True,
    )


def read(token: str, *, now: datetime) -> Agreed:
    """What the customer agreed to. Raises InvalidRequest for one that is not ours, RefundQuoteExpired for an old."""
    agreed = read_any_age(token)
    if not timedelta(0) <= now - agreed.at <= agreed.good_for:
        raise RefundQuoteExpired
    return agreed


def read_any_age(token: str) -> Agreed:
    """The same, however old."""
    try:
        kept: dict[str, Any] = _SIGNER.unsign_object(token)
        return Agreed(
            UUID(kept["subscription"]),
            Lines.read(kept["lines"]),
            datetime.fromisoformat(kept["at"]),
            timedelta(minutes=kept["minutes"]),
        )
    except (signing.BadSignature, ValueError, KeyError, TypeError) as wrong:
        raise InvalidRequest(_("This is not a quote of ours."), field="quote") from wrong
