"""Our own risk checks: facts gathered from what earlier payments left, rules asked, the verdict kept on a row.

`before` is asked while an order is placed, `traces` keeps what each try to pay looked like, `after` is asked once when
the money has arrived. What follows a hold is in `holds`.
"""

from __future__ import annotations

import logging
import secrets as random_source
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.conf import settings
from django.core import signing

from accounts import audit, secrets
from accounts.models import User
from billing import notices
from billing.errors import InvalidRequest
from billing.payments import risk_rules
from billing.payments.models import PaymentAttempt, PaymentCustomer, TopUp
from billing.payments.models_risk import AttemptTrace, RiskAssessment, RiskRule
from billing.payments.processor import Attempt
from billing.payments.risk_rules import AFTER, BEFORE, HOLD, REFUSE, Facts, Finding, Rule, worst

log = logging.getLogger(__name__)

State = RiskAssessment.State
MOST_COUNTED: Final = 500
"""Nobody's history is read further than this: every threshold lies far below."""

# --- The device -----------------------------------------------------------------------------------------------------
COOKIE: Final = "device"
UNATTENDED: Final = b""
"""In place of a device: a saved card is charged by itself. There is nobody to refuse, and limits of its own hold it."""
COOKIE_SECONDS: Final = 400 * 24 * 3600  # as long as browsers keep a cookie
_SALT: Final = "billing.payments.device"


def new_device() -> tuple[str, bytes]:
    """A signed cookie for a browser that has none, and the hash under which we keep it."""
    name = random_source.token_hex(16)
    return signing.Signer(salt=_SALT).sign(name), _hash("device", name)


def device_of(cookie: str) -> bytes | None:
    """The hash of a cookie that we made; None for any other."""
    try:
        return _hash("device", signing.Signer(salt=_SALT).unsign(cookie))
    except signing.BadSignature:
        return None


def _hash(kind: str, text: str) -> bytes:
    return secrets.digest(f"{kind}:{text}")


# --- Thresholds -----------------------------------------------------------------------------------------------------
def rules() -> dict[str, Rule]:
    """The thresholds in force: the installation's own rows over what it started with."""
    own = {
        row.name: Rule(row.name, row.hold_at, row.refuse_at, row.window_minutes, row.least, row.enabled)
        for row in RiskRule.objects.all()
    }
    return {**risk_rules.DEFAULTS, **own}


def plant() -> None:
    """A row for every rule, so that staff can see and change it; rows that are there stay as they are."""
    RiskRule.objects.bulk_create(
        [
            RiskRule(
                name=rule.name,
                hold_at=rule.hold_at,
                refuse_at=rule.refuse_at,
                window_minutes=rule.window_minutes,
                least=rule.least,
            )
            for rule in risk_rules.DEFAULTS.values()
        ],
        ignore_conflicts=True,
    )


def change_rule(
    name: str,
    *,
    enabled: bool,
    hold_at: Decimal | None,
    refuse_at: Decimal | None,
    window_minutes: int,
    least: int,
    actor: User,
    reason: str,
    now: datetime,
) -> RiskRule:
    """Other thresholds, with the reason in the audit (I12). Orders that were judged before stay as they are."""
    if not reason.strip():
        raise InvalidRequest(field="reason")
    for value in (hold_at, refuse_at):
        if value is not None and value < 0:
            raise InvalidRequest(field="hold_at")
    row = RiskRule.objects.get(pk=name)
    before = _thresholds(row)
    row.enabled, row.hold_at, row.refuse_at = enabled, hold_at, refuse_at
    row.window_minutes, row.least, row.changed_at = window_minutes, least, now
    row.save()
    audit.record(
        actor=actor,
        action="risk_rule_change",
        subject=row,
        now=now,
        reason=reason.strip(),
        before=before,
        after=_thresholds(row),
    )
    return row


def _thresholds(row: RiskRule) -> dict[str, str]:
    names = ("enabled", "hold_at", "refuse_at", "window_minutes", "least")
    return {name: str(getattr(row, name)) for name in names}


# --- Asking ---------------------------------------------------------------------------------------------------------
def before(order: TopUp, *, device: bytes | None, now: datetime) -> RiskAssessment:
    """Ask before the page opens, in the transaction that places the order. `refused` must not go to the provider.

    Only card payments are asked: who pays by Alipay or WeChat Pay has signed in to the app, and no card is tried.
    """
    found: list[Finding] = []
    if order.method == TopUp.Method.CARD and device != UNATTENDED:
        table = rules()
        facts = _history(order, device, table, now=now)
        found = risk_rules.judge(facts, table, stage=BEFORE)
    refused = worst(found) == REFUSE
    row = RiskAssessment(
        top_up=order,
        account_id=order.account_id,
        created_at=now,
        state_at=now,
        device=device or None,
        findings=[one.as_json() for one in found],
    )
    if refused:
        row.move_to(State.REFUSED, now=now)
        log.warning("Top-up %s is refused by %s", order.number, [one.rule for one in found if one.verdict == REFUSE])
    row.save(force_insert=True)
    return row


def refusal(row: RiskAssessment) -> str:
    """Which of our texts the customer reads."""
    return risk_rules.refusal(Finding(**one) for one in row.findings)


def traces(order: TopUp, told: Iterable[Attempt]) -> None:
    """Keep what the rules count of each try. Under the wallet's lock, after the attempts themselves."""
    kept = dict(PaymentAttempt.objects.filter(top_up=order).values_list("reference", "pk"))
    assessment = of(order)
    email = email_of(order)
    AttemptTrace.objects.bulk_create(
        [
            AttemptTrace(
                attempt_id=kept[one.reference[:160]],
                at=one.at,
                failed=one.outcome == PaymentAttempt.Outcome.FAILED,
                device=assessment.device if assessment else None,
                email=email,
                fingerprint=one.fingerprint[:80],
                holder=one.holder[:160],
                risk_level=one.risk_level[:24],
            )
            for one in told
            if one.outcome != PaymentAttempt.Outcome.PENDING and one.reference[:160] in kept
        ],
        update_conflicts=True,
        unique_fields=["attempt"],
        update_fields=["failed", "fingerprint", "holder", "risk_level"],
    )


def may_credit(order: TopUp, *, now: datetime) -> bool:
    """Ask once when the money has arrived, under the wallet's lock; False while the payment is held or goes back."""
    row = of(order)
    if row is None:  # an order of before there were rules
        row = RiskAssessment(top_up=order, account_id=order.account_id, created_at=now, state_at=now)
        row.save(force_insert=True)
    if row.state == State.OPEN:
        table = rules()
        found = risk_rules.judge(_payment(order, row, table, now=now), table, stage=AFTER)
        row.findings = [*row.findings, *(one.as_json() for one in found)]
        if worst(found) == HOLD:
            row.move_to(State.HELD, now=now)
            row.held_until = now + timedelta(minutes=settings.RISK_HOLD_MINUTES)
            tell(order, "topup_held", now=now)
            log.error("ALERT top-up %s is held: %s", order.number, [one.rule for one in found if one.verdict == HOLD])
        else:
            row.move_to(State.PASSED, now=now)
        row.save()
    return row.state in RiskAssessment.MAY_CREDIT


def tell(order: TopUp, kind: str, *, now: datetime) -> None:
    """A mail to whoever placed the order, or to those who may pay, in the transaction of what it tells."""
    notices.tell(
        order.account_id,
        kind,
        key=f"topup:{order.number}:{kind}",
        context={
            "order": order.number,
            "amount_usd": f"{order.amount_usd:.2f}",
            "hours": str(hold_hours()),
            "url": f"{settings.PUBLIC_URL}/billing/top-up/{order.number}",
        },
        now=now,
        user_id=order.created_by_id,
    )


def hold_hours() -> int:
    """Within how many hours a held payment is usually decided."""
    return max(1, -(-int(settings.RISK_HOLD_MINUTES) // 60))


def of(order: TopUp) -> RiskAssessment | None:
    """The order's row, read afresh."""
    return RiskAssessment.objects.filter(pk=order.pk).first()


def email_of(order: TopUp) -> bytes | None:
    """The keyed hash of the address that the provider knows the payer by."""
    address = (
        order.created_by.email
        if order.created_by
        else PaymentCustomer.objects.filter(pk=order.account_id).values_list("email", flat=True).first()
    )
    return _hash("email", address.strip().casefold()) if address else None


# --- Facts ----------------------------------------------------------------------------------------------------------
def _history(order: TopUp, device: bytes | None, table: dict[str, Rule], *, now: datetime) -> Facts:
    """What this device and this e-mail address have done until now."""
    cards = declines = tried = worked = None
    email = email_of(order)
    if device is not None:
        seen = AttemptTrace.objects.filter(device=device, at__gt=_since(table["cards_per_device"], now))
        newest = seen.exclude(fingerprint="").order_by("-at").values_list("fingerprint", flat=True)[:MOST_COUNTED]
        cards = len(set(newest))
    if email is not None:
        seen = AttemptTrace.objects.filter(email=email)
        refused = seen.filter(at__gt=_since(table["declines_per_email"], now), failed=True)
        declines = len(refused.order_by("-at").values_list("pk", flat=True)[:MOST_COUNTED])
        newest_ones = seen.filter(at__gt=_since(table["authorisation_rate"], now)).order_by("-at")
        outcomes = list(newest_ones.values_list("failed", flat=True)[:MOST_COUNTED])
        tried, worked = len(outcomes), outcomes.count(False)
    return Facts(
        amount_usd=order.amount_usd,
        cards_on_device=cards,
        declines_on_email=declines,
        attempts_on_email=tried,
        successes_on_email=worked,
    )


def _payment(order: TopUp, row: RiskAssessment, table: dict[str, Rule], *, now: datetime) -> Facts:
    """The same, with the card that paid."""
    paid = (
        AttemptTrace.objects.filter(attempt__top_up=order, failed=False).exclude(fingerprint="").order_by("-at").first()
    )
    level = (
        AttemptTrace.objects.filter(attempt__top_up=order, failed=False).values_list("risk_level", flat=True).first()
    )
    if paid is None:
        return Facts(amount_usd=order.amount_usd, provider_level=level or "")
    known = _history(order, bytes(row.device) if row.device is not None else None, table, now=now)
    first = AttemptTrace.objects.filter(fingerprint=paid.fingerprint).order_by("at").values_list("at", flat=True)[0]
    user = order.created_by
    return Facts(
        amount_usd=order.amount_usd,
        cards_on_device=known.cards_on_device,
        declines_on_email=known.declines_on_email,
        attempts_on_email=known.attempts_on_email,
        successes_on_email=known.successes_on_email,
        card_age_minutes=max(int((now - first).total_seconds()) // 60, 0),
        holder=paid.holder,
        known_names=(
            *((user.nickname, user.email.partition("@")[0]) if user else ()),
            order.account.name,
        ),
        provider_level=paid.risk_level,
    )


def _since(rule: Rule, now: datetime) -> datetime:
    return now - timedelta(minutes=rule.window_minutes)
