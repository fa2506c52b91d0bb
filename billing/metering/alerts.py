"""Spend alerts: make, change, pause, delete; and the sweep that tells each fact once.

Days and months are UTC's, as in usage by day (decision 0027). An account's alerts are looked at again only when its
wallet has moved: every charge, credit and expiry is an entry, and the wallet counts its entries.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from accounts import access
from accounts.models import Account, ApiKey, KeyGroup, Membership, User
from billing import notices
from billing.books.models import JournalEntry, Wallet
from billing.errors import Conflict, InvalidRequest, NotFound
from billing.metering import rollups
from billing.metering.models_alerts import AlertFiring, SpendAlert
from billing.money import parse_decimal

log = logging.getLogger(__name__)

Kind, Period = SpendAlert.Kind, SpendAlert.Period
STEPS: Final = (50, 80, 100)
MOST_ALERTS: Final = 100
HIGHEST: Final = Decimal(10_000_000)
LATE: Final = timedelta(hours=24)
"""How long after its end a period is still watched: usage may be reported late, and belongs to its own day."""
CENT: Final = Decimal("0.01")
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be watched, checked. A low balance is the account's; spend is the account's, a group's or a key's."""

    kind: str
    threshold_usd: Decimal
    period: str = ""
    steps: tuple[int, ...] = (100,)
    group: KeyGroup | None = None
    api_key: ApiKey | None = None

    @property
    def columns(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "threshold_usd": self.threshold_usd,
            "period": self.period,
            "steps": list(self.steps),
            "group": self.group,
            "api_key": self.api_key,
        }


def parse_threshold(value: object) -> Decimal:
    """US dollars in whole cents, or `invalid_request` that names the field."""
    evidence = {"field": "threshold_usd", "minimum": "0.01", "maximum": f"{HIGHEST:f}"}
    try:
        amount = parse_decimal(value)
    except ValueError:
        raise InvalidRequest(_("Write the amount as a number of US dollars, for instance 20.00."), **evidence) from None
    if not CENT <= amount <= HIGHEST:
        raise InvalidRequest(_("The amount must be between $%(minimum)s and $%(maximum)s."), **evidence)
    if amount != amount.quantize(CENT):
        raise InvalidRequest(_("The amount has more than two decimal places; cents are the smallest unit."), **evidence)
    return amount.quantize(CENT)


def terms(
    account: Account,
    *,
    kind: str,
    threshold: object,
    period: str = "",
    steps: Iterable[int] = (),
    group_id: UUID | None = None,
    key_id: UUID | None = None,
) -> Terms:
    """Check what was asked for; another account's key or group does not exist."""
    amount = parse_threshold(threshold)
    if kind == Kind.LOW_BALANCE:
        if group_id or key_id:
            raise InvalidRequest(_("Only the account has a balance; a key or a group has none."), field="kind")
        return Terms(Kind.LOW_BALANCE, amount)
    if kind != Kind.SPEND:
        raise InvalidRequest(_("Choose low balance or spend."), field="kind")
    if period not in Period.values:
        raise InvalidRequest(_("Choose a day or a month."), field="period")
    if group_id and key_id:
        raise InvalidRequest(_("Name a key or a group, not both."), field="api_key")
    wanted = tuple(sorted(set(steps))) or (100,)
    if any(step not in STEPS for step in wanted):
        raise InvalidRequest(_("The steps are 50, 80 and 100 per cent."), field="steps")
    group = KeyGroup.objects.filter(account=account, pk=group_id).first() if group_id else None
    key = ApiKey.objects.filter(account=account, pk=key_id).first() if key_id else None
    if group_id and group is None:
        raise InvalidRequest(_("There is no such key group in this account."), field="group")
    if key_id and key is None:
        raise InvalidRequest(_("There is no such API key in this account."), field="api_key")
    return Terms(Kind.SPEND, amount, period, wanted, group, key)


def may_manage(role: str | None, *, of_account: bool) -> bool:
    """Who may pay looks after every alert; who may change keys, after those on keys and groups."""
    return access.may(role, "pay") or (not of_account and access.may(role, "keys"))


def watched(account: Account) -> QuerySet[SpendAlert]:
    """The account's alerts, newest first."""
    found: QuerySet[SpendAlert] = SpendAlert.objects.filter(account=account, deleted_at=None)
    return found.select_related("group", "api_key").order_by("-pk")


def create(account: Account, asked: Terms, *, actor: User | None, now: datetime) -> SpendAlert:
    """A new alert. The same one twice is refused, so that a form sent twice makes one."""
    with transaction.atomic():
        # The account's row keeps two programs from passing the limit together.
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        if SpendAlert.objects.filter(account=account, deleted_at=None).count() >= MOST_ALERTS:
            raise Conflict(_("An account has at most %(most)s alerts. Delete one first."), most=MOST_ALERTS)
        if _twin(account, asked, None):
            raise Conflict(_("You have this alert already."))
        made: SpendAlert = SpendAlert.objects.create(
            account=account, created_by=actor, created_at=now, since=now, **asked.columns
        )
        return made


def change(alert_id: UUID, asked: Terms, *, now: datetime) -> SpendAlert:
    """Watch something else from now on. Saving the same again changes nothing."""
    with transaction.atomic():
        alert = _locked(alert_id)
        columns = asked.columns
        if all(getattr(alert, name) == value for name, value in columns.items()):
            return alert
        if _twin(alert.account, asked, alert.pk):
            raise Conflict(_("You have this alert already."))
        for name, value in columns.items():
            setattr(alert, name, value)
        alert.changed(now)
        alert.save(update_fields=[*columns, "revision", "since", "armed", "checked_seq"])
        return alert


def pause(alert_id: UUID, *, paused: bool, now: datetime) -> SpendAlert:
    """Stop watching, or begin again: what happened meanwhile is told if it still holds."""
    with transaction.atomic():
        alert = _locked(alert_id)
        if paused and alert.paused_at is None:
            alert.paused_at = now
        elif not paused and alert.paused_at is not None:
            alert.paused_at, alert.checked_seq = None, -1
        alert.save(update_fields=["paused_at", "checked_seq"])
        return alert


def delete(alert_id: UUID, *, now: datetime) -> None:
    """No longer there; what it told stays in the history."""
    with transaction.atomic():
        alert = _locked(alert_id)
        alert.deleted_at = now
        alert.save(update_fields=["deleted_at"])


def _twin(account: Account, asked: Terms, but: UUID | None) -> bool:
    same = {name: value for name, value in asked.columns.items() if name != "steps"}
    rows = SpendAlert.objects.filter(account=account, deleted_at=None, **same)
    return (rows.exclude(pk=but) if but else rows).exists()


def _locked(alert_id: UUID) -> SpendAlert:
    rows = SpendAlert.objects.select_related("account").select_for_update(of=("self",), no_key=True)
    found: SpendAlert | None = rows.filter(pk=alert_id, deleted_at=None).first()
    if found is None:
        raise NotFound
    return found


# --- The sweep --------------------------------------------------------------------------------------------------------
_DUE: Final = """
  SELECT DISTINCT alert.account_id FROM billing_spendalert alert
  JOIN billing_wallet wallet ON wallet.account_id = alert.account_id
  WHERE alert.deleted_at IS NULL AND alert.paused_at IS NULL AND alert.checked_seq <> wallet.seq
  LIMIT %s"""


def due(*, limit: int = 5000) -> list[UUID]:
    """Accounts whose wallets moved since their alerts were looked at."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [limit])
        return [row[0] for row in cursor.fetchall()]


def sweep(*, now: datetime) -> int:
    """Look at every account that moved; how many mails that made. Safe to run twice at once."""
    mails = 0
    for account_id in due():
        try:
            mails += look(account_id, now=now)
        except Exception:
            # One account must not keep the others waiting; it stays due, and the log says why.
            log.exception("ALERT the alerts of account %s could not be looked at", account_id)
    return mails


def look(account_id: UUID, *, now: datetime) -> int:
    """Tell what is to be told of one account."""
    wallet = Wallet.objects.filter(pk=account_id).first()
    if wallet is None:
        return 0
    rows = SpendAlert.objects.filter(account=account_id, deleted_at=None, paused_at=None)
    alerts: list[SpendAlert] = list(rows.exclude(checked_seq=wallet.seq))
    spent = _Spent(account_id, [alert for alert in alerts if alert.kind == Kind.SPEND], now)
    mails = 0
    for alert in alerts:
        if alert.kind == Kind.LOW_BALANCE:
            mails += _tell_balance(alert, now=now)
        else:
            # Late usage first: yesterday's, then today's.
            for first in periods(alert, now):
                mails += _tell_spend(alert, first, spent.of(alert, first), now=now)
    # The number was read before the sums: what came since has another, and is looked at next time.
    for revision in {alert.revision for alert in alerts}:
        seen = [alert.pk for alert in alerts if alert.revision == revision]
        SpendAlert.objects.filter(pk__in=seen, revision=revision).update(checked_seq=wallet.seq)
    return mails


def periods(alert: SpendAlert, now: datetime) -> list[date]:
    """First days of the periods that are watched: the running one, and the one before while its usage may be late."""
    today = now.astimezone(UTC).date()
    this = today if alert.period == Period.DAY else today.replace(day=1)
    start = rollups.start_of(this)
    found = [this]
    # An alert that was made after the end of a period has nothing to say of it.
    if now < start + LATE and alert.since < start:
        before = this - timedelta(days=1)
        found.insert(0, before if alert.period == Period.DAY else before.replace(day=1))
    return found


def last_day(alert: SpendAlert, first: date) -> date:
    """The last day of the period that begins then."""
    if alert.period == Period.DAY:
        return first
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


class _Spent:
    """USD by day and key, of the days that the account's alerts ask about: one reading of rollups and tail."""

    def __init__(self, account_id: UUID, alerts: list[SpendAlert], now: datetime) -> None:
        self.by: list[tuple[date, UUID | None, Decimal]] = []
        self.keys: list[tuple[UUID, UUID | None, UUID | None]] = []
        if not alerts:
            return
        first = min(day for alert in alerts for day in periods(alert, now))
        scope = rollups.Scope(account_id, first=first)
        for row in rollups.sums(scope, by=["day", "api_key_id"]):
            if row.day is not None:
                self.by.append((row.day, row.api_key_id, row.charge))
        if any(alert.group_id or alert.api_key_id for alert in alerts):
            rows = ApiKey.objects.filter(account=account_id)
            self.keys = list(rows.values_list("pk", "group_id", "rotated_from_id"))

    def of(self, alert: SpendAlert, first: date) -> Decimal:
        """What the alert's scope spent in the period."""
        last, keys = last_day(alert, first), self._keys(alert)
        days = [(key, usd) for day, key, usd in self.by if first <= day <= last]
        return sum((usd for key, usd in days if keys is None or key in keys), ZERO)

    def _keys(self, alert: SpendAlert) -> set[UUID] | None:
        """Whose calls count: all; the keys that are in the group now; the key and those that followed it."""
        if alert.group_id:
            return {key for key, group, _from in self.keys if group == alert.group_id}
        if not alert.api_key_id:
            return None
        found = {alert.api_key_id}
        while more := {key for key, _group, before in self.keys if before in found and key not in found}:
            found |= more
        return found


def spent_now(account: Account, alerts: list[SpendAlert], now: datetime) -> dict[UUID, Decimal]:
    """What each spend alert's scope has spent in the running period."""
    told = [alert for alert in alerts if alert.kind == Kind.SPEND]
    spent = _Spent(account.pk, told, now)
    return {alert.pk: spent.of(alert, periods(alert, now)[-1]) for alert in told}


def _tell_spend(alert: SpendAlert, first: date, spent: Decimal, *, now: datetime) -> int:
    """The highest step that was reached and not told; lower ones are kept as overtaken."""
    reached = [step for step in alert.steps if spent * 100 >= alert.threshold_usd * step]
    if not reached:
        return 0
    period = first.isoformat() if alert.period == Period.DAY else f"{first:%Y-%m}"
    told = AlertFiring.objects.filter(alert=alert, revision=alert.revision, period=period)
    if set(reached) <= set(told.values_list("step", flat=True)):
        return 0  # the common case, without a lock
    with transaction.atomic():
        current = _still(alert)
        if current is None:
            return 0
        known = set(told.values_list("step", flat=True))
        fresh = [step for step in reached if step not in known]
        if not fresh:
            return 0
        # A lower step that shows up after a higher one was told is overtaken, too.
        mailed = max(fresh) if max(fresh) > max(known, default=0) else 0
        for step in fresh:
            _fire(current, period=period, step=step, amount=spent, mailed=step == mailed, now=now)
        return int(bool(mailed))


def _tell_balance(alert: SpendAlert, *, now: datetime) -> int:
    """Once for each fall below the threshold. It counts as over when the balance has risen by the margin, or to the
    threshold by a top-up."""
    with transaction.atomic():
        current = _still(alert)
        if current is None:
            return 0
        net: Decimal = Wallet.objects.get(pk=alert.account_id).net
        if not current.armed and net >= current.threshold_usd:
            if net >= current.threshold_usd + current.margin or _topped_up(current):
                current.armed = True
                current.save(update_fields=["armed"])
            return 0
        if not current.armed or net >= current.threshold_usd:
            return 0
        current.armed, current.episode = False, current.episode + 1
        current.save(update_fields=["armed", "episode"])
        _fire(current, period=str(current.episode), step=100, amount=net, mailed=True, now=now)
        return 1


def _topped_up(alert: SpendAlert) -> bool:
    entries = JournalEntry.objects.filter(account=alert.account_id, kind=JournalEntry.Kind.TOPUP)
    return alert.last_fired_at is not None and entries.filter(at__gt=alert.last_fired_at).exists()


def _still(alert: SpendAlert) -> SpendAlert | None:
    """The alert's row, locked, if it still watches the same."""
    rows = SpendAlert.objects.select_related("group", "api_key", "created_by").select_for_update(
        of=("self",), no_key=True
    )
    found: SpendAlert | None = rows.filter(
        pk=alert.pk, revision=alert.revision, deleted_at=None, paused_at=None
    ).first()
    return found


def _fire(alert: SpendAlert, *, period: str, step: int, amount: Decimal, mailed: bool, now: datetime) -> None:
    """One row a fact; the mail is its notice. The caller holds the alert's lock."""
    firing = AlertFiring.objects.create(
        alert=alert,
        account_id=alert.account_id,
        revision=alert.revision,
        period=period,
        step=step,
        amount_usd=amount,
        threshold_usd=alert.threshold_usd,
        mailed=mailed,
        at=now,
    )
    if not mailed:
        return
    alert.last_fired_at = now
    alert.save(update_fields=["last_fired_at"])
    notices.tell(
        alert.account_id,
        "alert_low_balance" if alert.kind == Kind.LOW_BALANCE else "alert_spend",
        key=f"alert:{firing.pk}",
        context={
            "amount_usd": f"{amount:f}",
            "threshold_usd": f"{alert.threshold_usd:f}",
            "step": str(step),
            "period": alert.period,
            "day": period,
            "scope": alert.scope,
            "on": alert.on,
            "fired_at": now.isoformat(),
        },
        now=now,
        user_id=_reader(alert),
    )


def _reader(alert: SpendAlert) -> int | None:
    """A developer's alert on a key or a group is told to that developer while a member; others to all who may pay."""
    if alert.scope == "account" or alert.created_by_id is None:
        return None
    role = Membership.objects.filter(account=alert.account_id, user=alert.created_by_id).values_list("role", flat=True)
    found = role.first()
    return alert.created_by_id if found and not access.may(found, "pay") else None
