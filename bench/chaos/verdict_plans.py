"""Plans and Flows: what the provider was paid and what clients were told, held against our rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def waiting() -> dict[str, int]:
    """What of plans has not come to its end."""
    from subscriptions.models import PlanChange, Subscription

    behind = sum(1 for _row in _behind())
    undone = Subscription.objects.filter(status=Subscription.Status.DUPLICATE, undone_at=None).count()
    asked = PlanChange.objects.filter(status=PlanChange.Status.REQUESTED).count()
    return {"plans": behind + undone, "changes": asked}


def payments(notes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Each invoice that the provider was paid is one paid invoice here and one journal entry, and nothing else is."""
    from billing.books.models import JournalEntry
    from sandbox.models import StoredObject
    from subscriptions.models import Invoice, PlanChange, Subscription

    truth = {
        data["id"]: data["amount_paid"]
        for data in StoredObject.objects.filter(kind="invoice", data__status="paid").values_list("data", flat=True)
    }
    ours = dict(Invoice.objects.filter(status=Invoice.Status.PAID).values_list("provider_id", "paid_minor"))
    names = {str(pk): provider for pk, provider in Invoice.objects.values_list("pk", "provider_id")}
    booked: Counter[str] = Counter()
    entries = JournalEntry.objects.filter(kind=JournalEntry.Kind.SUBSCRIPTION_PAID).values_list("meta", flat=True)
    for meta in entries:
        booked[names[meta["invoice"]]] += 1
    lost = [one for one, amount in truth.items() if ours.get(one) != amount or (amount and not booked[one])]
    doubled = [one for one in {*ours, *booked} if booked[one] > 1 or one not in truth]

    # A second plan is paid back whole, and what goes back of any payment went once: at the provider and in the books.
    back: Counter[str] = Counter()
    for meta in JournalEntry.objects.filter(kind=JournalEntry.Kind.SUBSCRIPTION_REFUND).values_list("meta", flat=True):
        back[meta["provider"]] += 1
    intents = dict(Invoice.objects.exclude(payment_intent_id="").values_list("payment_intent_id", "provider_id"))
    sent = StoredObject.objects.filter(kind="refund").values_list("data", flat=True)
    tried = {data["id"]: data for data in sent if data["payment_intent"] in intents}  # a bank may return what went
    returned = {name: data for name, data in tried.items() if data["status"] == "succeeded"}
    lost += [f"{refund} sent and not booked" for refund in returned if not back[refund]]
    doubled += [f"{refund} booked" for refund in back if refund not in tried or back[refund] > 1]
    of_invoice: Counter[str] = Counter()
    for data in returned.values():
        of_invoice[intents[data["payment_intent"]]] += data["amount"]
    second = Invoice.objects.filter(subscription__status=Subscription.Status.DUPLICATE, paid_minor__gt=0)
    undone = dict(second.values_list("provider_id", "paid_minor"))
    # Where the provider says that it failed, a person was called.
    failed = {intents[data["payment_intent"]] for data in tried.values() if data["status"] in ("failed", "canceled")}
    lost += [f"{one} not paid back" for one, paid in undone.items() if of_invoice[one] < paid and one not in failed]
    doubled += [f"{one} paid back" for one in of_invoice if of_invoice[one] > (ours.get(one) or 0)]

    rows = {str(row.pk): row for row in Subscription.objects.all()}
    for note in notes["plan paid"]:
        row = rows.get(note["subscription"])
        if row is None or (row.activated_at is None and row.undone_at is None):
            lost.append(note["subscription"])
    lost += [note["subscription"] for note in notes["plan begun"] if note["subscription"] not in rows]
    changes = {str(pk) for pk in PlanChange.objects.values_list("pk", flat=True)}
    lost += [note["change"] for note in notes["plan changed"] if note["change"] not in changes]
    lost += [f"{row.provider_id}: {why}" for row, why in _behind()]
    return _told(len(truth), lost, doubled) | {
        "paid": len(notes["plan paid"]),
        "paid back": len(undone),
        "changed": len(notes["plan changed"]),
        "renewed": StoredObject.objects.filter(kind="invoice", data__billing_reason="subscription_cycle").count(),
    }


def flows(notes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Each call that was acknowledged as paid with Flows counts once, in one window of each kind; no window opened twice.

    That windows have used exactly the Flows of their calls is I9 of `verify_books`; this looks from the outside.
    """
    from billing.metering.models import UsageRecord
    from sandbox.models import StoredObject
    from subscriptions.models import ExtraUsageMonth, QuotaWindow

    recorded: dict[str, list[tuple[str, Decimal]]] = defaultdict(list)
    used: Counter[str] = Counter()
    records = UsageRecord.objects.exclude(funding="payg")
    for request_id, account, funding, amount in records.values_list("request_id", "account_id", "funding", "flows"):
        recorded[request_id].append((funding, amount))
        used[str(account)] += amount
    acknowledged = [note for note in notes["captured"] if note["funding"] != "payg"]
    promised: dict[str, set[tuple[str, Decimal]]] = defaultdict(set)
    for note in acknowledged:
        promised[note["request_id"]].add((note["funding"], Decimal(note["flows"])))
    lost = [call for call, told in promised.items() if not set(recorded[call]) & told]
    doubled = [call for call, rows in recorded.items() if len(rows) > 1]
    doubled += [call for call, told in promised.items() if len(told) > 1]
    refused = {note["request_id"] for note in notes["denied"]}
    doubled += [call for call in refused if recorded.get(call)]

    for kind in QuotaWindow.Kind.values:
        counted: Counter[str] = Counter()
        for account, amount in QuotaWindow.objects.filter(kind=kind).values_list("account_id", "used"):
            counted[str(account)] += amount
        lost += [f"{kind} {account}" for account in used if counted[account] < used[account]]
        doubled += [f"{kind} {account}" for account in counted if counted[account] > used[account]]
    left = QuotaWindow.objects.exclude(held=0).values_list("pk", flat=True)
    left_months = ExtraUsageMonth.objects.exclude(held=0).values_list("pk", flat=True)
    lost += [f"held for ever in {pk}" for pk in (*left, *left_months)]

    # A subscription has the windows of its first period and of each renewal: fresh Flows are never given twice.
    renewals: Counter[str] = Counter()
    for data in StoredObject.objects.filter(kind="invoice").values_list("data", flat=True):
        if data["billing_reason"] == "subscription_cycle":
            renewals[data["parent"]["subscription_details"]["subscription"]] += 1
    periods = QuotaWindow.objects.filter(kind="period", follows=None, subscription__isnull=False)
    fresh = Counter(periods.values_list("subscription__provider_id", flat=True))
    doubled += [one for one, count in fresh.items() if count > 1 + renewals[one]]
    funded = Counter(note["funding"] for note in acknowledged)
    return _told(len(promised), lost, doubled) | {
        "with Flows": funded["subscription"],
        "by Extra Usage": funded["extra_usage"],
        "refused": Counter(note["code"] for note in notes["denied"] if note.get("code")),
    }


def _behind() -> list[tuple[Any, str]]:
    """Subscriptions that are not as the provider has them: status, period, plan, or no window for what was paid."""
    from sandbox.models import StoredObject
    from subscriptions import periods
    from subscriptions.models import PlanPrice, QuotaWindow, Subscription

    there = {row["id"]: row for row in StoredObject.objects.filter(kind="subscription").values_list("data", flat=True)}
    prices = {price: version for version, price in PlanPrice.objects.values_list("version_id", "price_id")}
    running = {"active": "active", "past_due": "past_due"}
    rows = {row.provider_id: row for row in Subscription.objects.exclude(provider_id="")}
    sessions = StoredObject.objects.filter(kind="checkout_session", data__mode="subscription", data__status="complete")
    for page in sessions.values_list("data", flat=True):
        if page["subscription"] not in rows:
            row = Subscription.objects.get(session_id=page["id"])
            rows[page["subscription"]] = row
    found = []
    for name, row in rows.items():
        data = there[name]
        if row.status == Subscription.Status.DUPLICATE:
            continue
        if data["status"] not in running:
            if row.in_force:
                found.append((row, f"{data['status']} there, {row.status} here"))
            continue
        item = data["items"]["data"][0]
        end = datetime.fromtimestamp(item["current_period_end"], UTC)
        if row.status != running[data["status"]] or row.period_end != end:
            found.append((row, f"{data['status']} until {end} there, {row.status} until {row.period_end} here"))
        elif row.plan_version_id != prices.get(item["price"]["id"]):
            found.append((row, "another plan"))
        elif not QuotaWindow.objects.filter(
            # With the period, or with the grace while it is not paid.
            subscription=row,
            kind="period",
            ends_at=periods.served_until(row),
            plan_version=row.plan_version_id,
        ).exists():
            found.append((row, "no window for the period"))
    return found


def _told(acknowledged: int, lost: list[str], doubled: list[str]) -> dict[str, Any]:
    gone, twice = sorted(set(lost)), sorted(set(doubled))
    return {
        "acknowledged": acknowledged,
        "lost": len(gone),
        "doubled": len(twice),
        "examples": {"lost": gone[:5], "doubled": twice[:5]},
    }
