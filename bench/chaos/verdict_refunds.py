"""Refunds: what clients were promised and what the provider sent, held against our rows and the books."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

LEFT: set[str] = {"failed", "canceled"}
"""At the provider: nothing went, or it came back."""


def waiting() -> dict[str, int]:
    """What of refunds has not come to its end."""
    from refunds.models import Refund
    from refunds.models_plan import PlanRefund

    unheard = sum(1 for _found in _differences())
    return {
        "refunds": Refund.objects.filter(status__in=Refund.WAITING).count() + unheard,
        # Open, or with something to do at the provider: the plan's end, its renewal.
        "plan refunds": PlanRefund.objects.filter(status__in=PlanRefund.OPEN).count()
        + PlanRefund.objects.exclude(status__in=PlanRefund.OPEN).filter(check_at__isnull=False).count(),
    }


def refunds(notes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Each request that was acknowledged has exactly one end; each is sent at most once; what was sent is booked."""
    from refunds.models import Refund
    from refunds.models_plan import PlanRefund

    rows: dict[str, Any] = {str(row.pk): row for row in Refund.objects.all()}
    plans: dict[str, Any] = {
        str(row.pk): row for row in PlanRefund.objects.select_related("subscription").prefetch_related("payments")
    }
    ends = {"succeeded", "failed", "cancelled"}
    everything = {**rows, **plans}
    asked = {note["refund"] for note in notes["refund asked"]}
    lost = [f"{refund} asked, no row" for refund in asked if refund not in everything]
    lost += [f"{row} is {row.status}" for row in everything.values() if row.status not in ends]
    for note in (*notes["refund taken back"], *notes["staff rejected"]):
        row = everything.get(note["refund"])
        if row is None or row.status != "cancelled":
            lost.append(f"{note['refund']} was taken back or rejected, and is {row and row.status}")
    by_key: dict[str, set[str]] = defaultdict(set)
    for note in notes["refund asked"]:
        by_key[note["key"]].add(note["refund"])
    doubled = [f"{key} made {found}" for key, found in by_key.items() if len(found) > 1]

    lost += _differences()
    twice, sent = _at_the_provider()
    doubled += twice
    missed, again, booked = _in_the_books()
    lost += missed
    doubled += again
    if sent != booked:
        lost.append(f"sent {sent}, booked {booked}")
    for row in plans.values():
        lost += _plan(row)
    lost += _pauses()
    return _told(len(asked), lost, doubled) | {
        "plans": Counter(str(plans[one].status) for one in asked if one in plans),
        "top-ups": Counter(str(rows[one].status) for one in asked if one in rows),
        "external": sum(1 for row in rows.values() if row.external),
        "flagged": sum(1 for row in everything.values() if row.flagged),
        "sent": sent,
        "refused": Counter(note["code"] for note in notes["refund refused"]),
    }


def _differences() -> list[str]:
    """Refunds at the provider that are not one row of ours of the same amount and end; and the other way round."""
    from refunds.models import Refund
    from sandbox.models import StoredObject

    ours = {row.provider_refund_id: row for row in Refund.objects.exclude(provider_refund_id=None)}
    there = dict(StoredObject.objects.filter(kind="refund").values_list("object_id", "data"))
    found = []
    for name, data in there.items():
        row = ours.get(name)
        if row is None:
            if data["status"] not in LEFT:  # one that ended before we heard of it
                found.append(f"{name} is not known here")
            continue
        if (row.sent_minor, row.currency.lower()) != (data["amount"], data["currency"]):
            found.append(f"{name} sends {data['amount']}, {row} {row.sent_minor}")
        if (data["status"] == "succeeded") != (row.status == "succeeded") or data["status"] == "pending":
            found.append(f"{name} is {data['status']}, {row} is {row.status}")
    found += [f"{row} is sent as {name}, which is not there" for name, row in ours.items() if name not in there]
    return found


def _at_the_provider() -> tuple[list[str], dict[str, int]]:
    """Requests of ours that were sent twice, and what went by currency, in its smallest unit."""
    from sandbox.models import StoredObject

    times: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    for data in StoredObject.objects.filter(kind="refund").values_list("data", flat=True):
        if data["metadata"].get("refund"):
            times[data["metadata"]["refund"]] += 1
        if data["status"] == "succeeded":
            sent[data["currency"].upper()] += data["amount"]
    return [f"{refund} sent {count} times" for refund, count in times.items() if count > 1], dict(sent)


def _in_the_books() -> tuple[list[str], list[str], dict[str, int]]:
    """Each success has one entry more that pays than entries that take it back; the sums by currency."""
    from billing.books.models import JournalEntry
    from refunds.models import Refund

    kinds = JournalEntry.Kind
    paid: Counter[str] = Counter()
    for meta in JournalEntry.objects.filter(kind__in=[kinds.REFUND_PAID, kinds.SUBSCRIPTION_REFUND]).values_list(
        "meta", flat=True
    ):
        paid[meta["refund"]] += 1
    lost, doubled = [], [f"{number} booked {count} times" for number, count in paid.items() if count > 1]
    sums: Counter[str] = Counter()
    for row in Refund.objects.all():
        if row.status == "succeeded":
            if paid[row.number]:
                sums[row.currency] += row.sent_minor
            else:
                lost.append(f"{row} succeeded and is not booked")
        elif paid[row.number] and row.succeeded_at is None:
            doubled.append(f"{row} is {row.status} and booked as paid")
    return lost, doubled, dict(sums)


def _plan(refund: Any) -> list[str]:
    """The plan ended where its money went, and is there (or ended in another way) where it did not."""
    plan, parts = refund.subscription, list(refund.payments.all())
    ended = plan.end_reason == "refunded"
    others = {str(row.status) for row in plan.refunds.all() if row.pk != refund.pk and row.succeeded_at is not None}
    wrong = []
    if refund.succeeded_at is not None and (plan.in_force or not ended):
        wrong.append(f"{refund} succeeded, and the plan is {plan.status} ({plan.end_reason})")
    if refund.succeeded_at is None and ended and not others:
        wrong.append(f"{refund} is {refund.status}, and the plan ended with it")
    gone = sum(part.sent_minor for part in parts if part.status == "succeeded")
    if refund.sent_minor != gone or gone > refund.final_minor or (refund.status == "cancelled" and parts):
        wrong.append(f"{refund} is {refund.status} and sent {refund.sent_minor}; its payments sent {gone}")
    if refund.status == "failed" and gone and not refund.flagged:
        wrong.append(f"{refund} went in part, and nobody is told")
    return wrong


def _pauses() -> list[str]:
    """A plan is paused while its refund is open, and only then."""
    from refunds.models_plan import PlanRefund
    from subscriptions.models import Subscription

    paused = set(Subscription.objects.filter(paused_at__isnull=False).values_list("pk", flat=True))
    open_ones = set(PlanRefund.objects.filter(status__in=PlanRefund.OPEN).values_list("subscription_id", flat=True))
    return [f"subscription {pk} is paused by nothing, or not paused" for pk in paused ^ open_ones]


def _told(acknowledged: int, lost: list[str], doubled: list[str]) -> dict[str, Any]:
    gone, twice = sorted(set(lost)), sorted(set(doubled))
    return {
        "acknowledged": acknowledged,
        "lost": len(gone),
        "doubled": len(twice),
        "examples": {"lost": gone[:5], "doubled": twice[:5]},
    }
