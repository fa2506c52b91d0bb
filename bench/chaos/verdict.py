"""The clients' log held against the books and against what the provider took. Prints JSON.

python -m bench.chaos.verdict waiting          what is still to be settled
python -m bench.chaos.verdict LOG              acknowledged, lost and doubled, by kind, with examples
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import django

from bench.chaos import verdict_plans, verdict_refunds


def main() -> None:
    """One question, one JSON document."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    told = waiting() if sys.argv[1] == "waiting" else verdict(Path(sys.argv[1]))
    sys.stdout.write(json.dumps(told, default=str) + "\n")


def waiting() -> dict[str, int]:
    """What has not come to its end: when all are zero there is nothing left to hope for."""
    from billing.metering.models import Authorization
    from billing.payments.models import PaymentEvent, TopUp
    from sandbox.models import Delivery, StoredObject

    return {
        "events": PaymentEvent.objects.filter(state=PaymentEvent.State.RECEIVED).count(),
        "orders": TopUp.objects.filter(status__in=[*TopUp.OPEN, TopUp.Status.PAID], in_review=False).count(),
        "holds": Authorization.objects.filter(status=Authorization.Status.OPEN).count(),
        "deliveries": Delivery.objects.filter(state__in=["pending", "sending"]).count(),
        "payments": StoredObject.objects.filter(kind="payment_intent", data__status="processing").count(),
        **verdict_plans.waiting(),
        **verdict_refunds.waiting(),
    }


def verdict(path: Path) -> dict[str, Any]:
    """`{kind: {acknowledged, lost, doubled, examples}}` and what a person must know besides."""
    notes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        note = json.loads(line)
        notes[note.pop("what")].append(note)
    return {
        "captures": _captures(notes["captured"]),
        "voids": _voids(notes["voided"]),
        "top-ups": _top_ups(notes),
        "redemptions": _redemptions(notes["redeemed"]),
        "plans": verdict_plans.payments(notes),
        "Flows": verdict_plans.flows(notes),
        "refunds": verdict_refunds.refunds(notes),
        "events": _events(),
        "open at the end": waiting(),
        "notes": {what: len(found) for what, found in sorted(notes.items())},
    }


def _told(acknowledged: int, lost: Iterable[str], doubled: Iterable[str]) -> dict[str, Any]:
    gone, twice = sorted(set(lost)), sorted(set(doubled))
    return {
        "acknowledged": acknowledged,
        "lost": len(gone),
        "doubled": len(twice),
        "examples": {"lost": gone[:5], "doubled": twice[:5]},
    }


def _captures(notes: list[dict[str, Any]]) -> dict[str, Any]:
    from billing.metering.models import UsageRecord

    charged = {
        (str(account), request_id): charge
        for account, request_id, charge in UsageRecord.objects.values_list("account_id", "request_id", "charge")
    }
    times = Counter(
        (str(account), request_id)
        for account, request_id in UsageRecord.objects.values_list("account_id", "request_id")
    )
    promised: dict[tuple[str, str], set[Decimal]] = defaultdict(set)
    for note in notes:
        promised[note["account"], note["request_id"]].add(Decimal(note["charge"]))
    lost = [f"{call[1]}" for call, charges in promised.items() if charged.get(call) not in charges]
    doubled = [call[1] for call, count in times.items() if count > 1]
    doubled += [call[1] for call, charges in promised.items() if len(charges) > 1]
    return _told(len(promised), lost, doubled)


def _voids(notes: list[dict[str, Any]]) -> dict[str, Any]:
    from billing.metering.models import UsageRecord

    charged = set(UsageRecord.objects.values_list("request_id", flat=True))
    return _told(len(notes), (), [note["request_id"] for note in notes if note["request_id"] in charged])


def _top_ups(notes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The provider's own record of what it took is the truth that the books must equal."""
    from billing.books.models import JournalEntry
    from billing.payments.models import TopUp
    from sandbox.models import StoredObject

    taken: Counter[str] = Counter()
    minor: Counter[str] = Counter()
    for data in StoredObject.objects.filter(kind="charge", data__status="succeeded").values_list("data", flat=True):
        if "order" not in data["metadata"]:
            continue  # for a plan
        taken[data["metadata"]["order"]] += 1
        minor[data["metadata"]["order"]] += data["amount"]
    entries: Counter[str] = Counter()
    for meta in JournalEntry.objects.filter(kind=JournalEntry.Kind.TOPUP).values_list("meta", flat=True):
        entries[meta["order"]] += 1
    orders = {order.number: order for order in TopUp.objects.select_related("grant")}
    lost = [note["order"] for note in notes["paid"] if not taken[note["order"]]]
    # Sent back or disputed before it was credited: it went the way it came, or waits for a person.
    elsewhere = {
        number
        for number, order in orders.items()
        if order.grant is None and (order.in_review or order.status == TopUp.Status.REFUNDED)
    }
    lost += [number for number in taken if entries[number] == 0 and number not in elsewhere]
    lost += [number for number in taken if number in orders and minor[number] != orders[number].amount_minor]
    lost += [note["order"] for note in notes["credited"] if not entries[note["order"]]]
    doubled = [number for number, count in entries.items() if count > 1 or not taken[number]]
    doubled += [number for number, count in taken.items() if count > 1]
    by_key: dict[str, set[str]] = defaultdict(set)
    for note in notes["ordered"]:
        by_key[note["key"]].add(note["order"])
    doubled += [key for key, found in by_key.items() if len(found) > 1]
    wrong = [number for number, order in orders.items() if order.grant and order.grant.amount != order.amount_usd]
    return _told(len(notes["paid"]), [*lost, *wrong], doubled) | {
        "taken by the provider": len(taken),
        "never credited": len(elsewhere),
    }


def _redemptions(notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Each promise has its redemption and its journal entry; no code was redeemed twice."""
    from billing.books.models import JournalEntry
    from billing.books.models_vouchers import Redemption

    kept = Redemption.objects.filter(result=Redemption.Result.REDEEMED).values_list("account_id", "voucher_id")
    rows = Counter(str(account) for account, _voucher in kept)
    entries = Counter(
        str(account)
        for account in JournalEntry.objects.filter(kind=JournalEntry.Kind.VOUCHER).values_list("account_id", flat=True)
    )
    promised: dict[str, set[str]] = defaultdict(set)
    winners: dict[str, set[str]] = defaultdict(set)
    for note in notes:
        promised[note["account"]].add(note["code"])
        winners[note["code"]].add(note["account"])
    lost = [account for account, codes in promised.items() if min(rows[account], entries[account]) < len(codes)]
    doubled = [code for code, accounts in winners.items() if len(accounts) > 1]
    doubled += [str(voucher) for voucher, times in Counter(voucher for _a, voucher in kept).items() if times > 1]
    doubled += [account for account in rows if entries[account] > rows[account]]
    return _told(len(winners), lost, doubled)


def _events() -> dict[str, Any]:
    from billing.payments.models import PaymentEvent

    states = Counter(PaymentEvent.objects.values_list("state", flat=True))
    parked = PaymentEvent.objects.filter(state=PaymentEvent.State.PARKED).values_list("event_id", "type", "last_error")
    return {"by state": states, "parked": list(parked[:10])}


if __name__ == "__main__":
    main()
