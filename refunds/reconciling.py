"""Refunds compared with the provider's own record of a day."""

from __future__ import annotations

from collections.abc import Iterator

from billing.money import minor_text
from billing.payments.processor_books import ProviderBooks, RefundMade
from billing.payments.reconcile import Day, Finding, Kind, compares, explains, pages
from refunds.models import Refund

Status = Refund.Status
FAILED_THERE = frozenset({"failed", "canceled"})


@compares("refunds")
def refunds(day: Day, *, provider: ProviderBooks) -> Iterator[Finding]:
    """Every refund at the provider is one of ours of the same amount and outcome; and the other way round."""
    seen: set[str] = set()
    for page in pages(provider.refunds_made(day.since, day.until)):
        ours = {
            row.provider_refund_id: row
            for row in Refund.objects.filter(provider_refund_id__in=[made.refund_id for made in page])
        }
        for made in page:
            seen.add(made.refund_id)
            day.count("refunds", made.currency, made.amount_minor)
            row = ours.get(made.refund_id)
            if row is None:
                if made.status not in FAILED_THERE:
                    yield _finding(Kind.REFUND_UNKNOWN, made, f"a refund of {made.payment_intent_id}")
            elif (row.sent_minor, row.currency) != (made.amount_minor, made.currency):
                detail = f"{row.number} sends {minor_text(row.sent_minor, row.currency)}"
                yield _finding(Kind.REFUND_DIFFERS, made, detail, row)
            elif (made.status == "succeeded" and row.status != Status.SUCCEEDED) or (
                made.status in FAILED_THERE and row.status not in (Status.FAILED, Status.CANCELLED)
            ):
                yield _finding(Kind.REFUND_DIFFERS, made, f"{row.number} is {row.status}", row)
    succeeded = Refund.objects.filter(
        status=Status.SUCCEEDED, succeeded_at__gte=day.since, succeeded_at__lt=day.until
    ).exclude(provider_refund_id__in=seen)
    for row in succeeded.iterator(chunk_size=2000):
        if row.submitted_at and row.submitted_at >= day.since:  # begun before this day: it was compared on its own
            yield Finding(
                Kind.REFUND_MISSING,
                row.provider_refund_id or row.number,
                f"the provider does not name {row.number}",
                row.top_up_id,
                row.currency,
                None,
                row.sent_minor,
            )


@explains
def refunds_known(sources: set[str]) -> set[str]:
    """Refunds that the books hold, for the movements of the balance that they cause."""
    rows = Refund.objects.filter(provider_refund_id__in=sources).values_list("provider_refund_id", flat=True)
    return {one for one in rows if one}


def _finding(kind: str, made: RefundMade, detail: str, row: Refund | None = None) -> Finding:
    return Finding(
        kind,
        made.refund_id,
        detail,
        row.top_up_id if row else None,
        made.currency,
        made.amount_minor,
        row.sent_minor if row else None,
    )
