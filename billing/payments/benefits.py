"""Benefit levels: what the net captured top-ups of an account earn it (F018, C19, J12).

Every change happens under the wallet's lock and takes effect with the next call that is authorised: admission reads
the account's level afresh, and what was authorised before keeps its discount. A level is never lost by spending, and
by refunds and disputes only where `BENEFIT_DOWNGRADE_ON_REVERSAL` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit, levels
from accounts.models import Account, BenefitLevel, User
from billing import notices
from billing.books import ledger
from billing.catalog.plans import plain
from billing.errors import Conflict, InvalidRequest
from billing.payments.models import TopUp
from billing.payments.models_benefits import BenefitLevelChange
from billing.waking import wake

Cause = BenefitLevelChange.Cause
ZERO: Final = Decimal(0)
REVERSALS: Final = frozenset({Cause.REFUND, Cause.DISPUTE})

# What is left of one order, in US dollars: the part of what was paid that neither went back nor is contested.
LEFT: Final = """round(amount_usd * greatest(amount_minor - refunded_minor - disputed_minor, 0) / amount_minor, 10)"""
_NET: Final = f"""
  SELECT coalesce(sum({LEFT}), 0) FROM billing_topup
  WHERE account_id = %s AND credited_at IS NOT NULL AND id <> %s"""  # noqa: S608  # our own words
_NO_ORDER: Final = UUID(int=0)

# Accounts whose top-ups earn more than they have, after a threshold was lowered.
BELOW: Final = f"""
  SELECT net.account_id FROM (
    SELECT account_id, sum({LEFT}) AS usd FROM billing_topup WHERE credited_at IS NOT NULL GROUP BY account_id
  ) AS net
  JOIN accounts_account a ON a.id = net.account_id
  LEFT JOIN accounts_benefitlevel has ON has.id = a.benefit_level_id
  WHERE (SELECT max(l.threshold_usd) FROM accounts_benefitlevel l WHERE l.threshold_usd <= net.usd)
        > coalesce(has.threshold_usd, -1)"""  # noqa: S608  # our own words


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stands: USD net of refunds and disputes, its level, the next one and what is missing to it."""

    net: Decimal
    level: BenefitLevel | None
    floor: BenefitLevel | None
    following: BenefitLevel | None
    missing: Decimal

    @property
    def done(self) -> Decimal:
        """How much of the next level's threshold there is already."""
        return self.following.threshold_usd - self.missing if self.following else self.net


def net_top_ups(account_id: UUID, *, order: TopUp | None = None) -> Decimal:
    """USD of credited top-ups less what was refunded or is disputed of them. Vouchers and gifts do not count.

    `order` is one that the caller has in hand and may not have saved yet: it counts as it is in memory.
    """
    with connection.cursor() as cursor:
        cursor.execute(_NET, [account_id, order.pk if order else _NO_ORDER])
        net: Decimal = cursor.fetchone()[0]
    return net + (left_of(order) if order and order.credited_at else ZERO)


def left_of(order: TopUp) -> Decimal:
    """USD of one order that neither went back nor is contested; the same as `LEFT` in SQL."""
    minor = max(order.amount_minor - order.refunded_minor - order.disputed_minor, 0)
    return (order.amount_usd * minor / order.amount_minor).quantize(Decimal("1e-10"), rounding="ROUND_HALF_UP")


def earned_by(net: Decimal, known: Iterable[BenefitLevel]) -> BenefitLevel | None:
    """The highest level whose threshold is reached."""
    reached = [level for level in known if level.threshold_usd <= net]
    return max(reached, key=lambda level: level.threshold_usd, default=None)


def refresh(
    account_id: UUID, *, cause: str, now: datetime, order: TopUp | None = None, source: str = ""
) -> BenefitLevelChange | None:
    """Bring the level in line with the money; the change, or None when all stays as it is.

    Call it in the transaction of what changed the money: after a credit (`order`), and by whoever records a refund
    (`refund`) or a dispute (`dispute`, also when one is won). Repeats change nothing. More money always raises at
    once; less money lowers only when money went back, and only where the setting says so.
    """
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        account = _locked(account_id)
        net = net_top_ups(account_id, order=order)
        known = list(BenefitLevel.objects.all())
        before, floor = account.benefit_level, floor_of(account_id)
        earned = earned_by(net, known)
        wanted = _higher(earned, floor)
        if wanted is None:
            return None
        lowers = before is not None and wanted.threshold_usd < before.threshold_usd
        if before == wanted or (lowers and not (cause in REVERSALS and settings.BENEFIT_DOWNGRADE_ON_REVERSAL)):
            return None
        return _move(account, wanted, floor=floor, net=net, cause=cause, source=source or _name(order), now=now)


def credited(order: TopUp, *, now: datetime) -> None:
    """An order's credit was given, in this transaction: what it earns holds for the next call."""
    refresh(order.account_id, cause=Cause.ORDER, order=order, now=now)


def set_by_hand(
    account_id: UUID, level: BenefitLevel | None, *, actor: User, reason: str, now: datetime
) -> BenefitLevelChange:
    """Staff promise an account a level that it keeps whatever its top-ups are; None ends the promise.

    A promise below what the top-ups earn would take away what was bought, and is refused.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        account = _locked(account_id)
        net = net_top_ups(account_id)
        earned = earned_by(net, BenefitLevel.objects.all())
        promised = floor_of(account_id)
        if level == promised:
            raise Conflict(_("That is how it is already."))
        if level is not None and earned is not None and level.threshold_usd < earned.threshold_usd:
            raise InvalidRequest(
                _("The account's top-ups earn it %(earned)s; a level below that cannot be set."),
                field="level",
                earned=str(earned),
            )
        wanted = level or earned or account.benefit_level
        if wanted is None:
            raise Conflict(_("There is no benefit level yet."))
        told = {"level": str(account.benefit_level or ""), "promised": str(promised or "")}
        change = _move(account, wanted, floor=level, net=net, cause=Cause.STAFF, source="", now=now)
        audit.record(
            actor=actor,
            action="benefit_level_set",
            subject=account,
            now=now,
            reason=reason.strip(),
            before=told,
            after={"level": str(wanted), "promised": str(level or "")},
        )
        return change


def floor_of(account_id: UUID) -> BenefitLevel | None:
    """The level that staff promised: what the newest row of the history says."""
    last = BenefitLevelChange.objects.filter(account=account_id).select_related("floor").order_by("-pk").first()
    return last.floor if last else None


def standing(account_id: UUID) -> Standing:
    """Where the account stands now, and what is missing to the next level."""
    level = Account.objects.select_related("benefit_level").get(pk=account_id).benefit_level
    net = net_top_ups(account_id)
    above = level.threshold_usd if level else Decimal(-1)
    following = BenefitLevel.objects.filter(threshold_usd__gt=above).order_by("threshold_usd").first()
    missing = max(following.threshold_usd - net, ZERO) if following else ZERO
    return Standing(net, level, floor_of(account_id), following, missing)


def below(limit: int = 1000) -> list[UUID]:
    """Accounts that stand below what they earn. Only a lowered threshold makes any."""
    with connection.cursor() as cursor:
        cursor.execute(f"{BELOW} LIMIT %s", [limit])
        return [row[0] for row in cursor.fetchall()]


def raise_all(*, now: datetime) -> int:
    """Raise every account that a lowered threshold reaches; how many that were."""
    raised = 0
    while found := below():
        done = [refresh(account_id, cause=Cause.THRESHOLD, now=now) for account_id in found]
        raised += len([change for change in done if change])
        if not any(done):
            break
    return raised


def _locked(account_id: UUID) -> Account:
    rows = Account.objects.select_related("benefit_level").select_for_update(of=("self",), no_key=True)
    found: Account = rows.get(pk=account_id)
    return found


def _higher(one: BenefitLevel | None, other: BenefitLevel | None) -> BenefitLevel | None:
    if one is None or other is None:
        return one or other
    return one if one.threshold_usd >= other.threshold_usd else other


def _name(order: TopUp | None) -> str:
    return order.number if order else ""


def _move(
    account: Account,
    wanted: BenefitLevel,
    *,
    floor: BenefitLevel | None,
    net: Decimal,
    cause: str,
    source: str,
    now: datetime,
) -> BenefitLevelChange:
    """Write the history and the account; the caller holds the wallet's lock."""
    before = account.benefit_level
    change: BenefitLevelChange = BenefitLevelChange.objects.create(
        account=account,
        at=now,
        before=before,
        after=wanted,
        net_usd=net,
        cause=cause,
        source=source[:80],
        floor=floor,
    )
    if before != wanted:
        account.benefit_level = wanted
        account.save(update_fields=["benefit_level"])
        up = before is None or wanted.threshold_usd > before.threshold_usd
        notices.tell(
            account.pk,
            "benefit_level_up" if up else "benefit_level_down",
            key=f"benefit:{change.pk}",
            context={
                "level": wanted.name,
                "before": before.name if before else "",
                "discount": plain(wanted.discount),
                "rpm": str(wanted.rpm),
                "tpm": str(wanted.tpm),
                "net_usd": plain(net),
            },
            now=now,
        )
    return change


def _terms_changed(_level: BenefitLevel) -> None:
    from billing.payments.tasks import raise_levels  # the task imports this module

    wake(raise_levels)


levels.changed.append(_terms_changed)
